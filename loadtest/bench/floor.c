/* The floor in C: see floor.py. "floor RATE SIZE" prints "port N" and runs until it is ended.
 *
 * One thread. epoll tells of new connections, of requests, and (by a timerfd) of the next round; a round is one
 * send() of the same frame to every socket that was answered. No error is handled but the end of a connection.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 65536, MAX_PAYLOAD = 65000, MARKER = 17 };

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int viewers[MAX_FILES];  /* files that are sent to, without holes */
static int place_of[MAX_FILES]; /* by file: its place in viewers plus one, 0 before it was answered */
static int viewer_count;
static int poller;

static void watch(int file) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    epoll_ctl(poller, EPOLL_CTL_ADD, file, &event);
}

static void accept_all(int listener) {
    int file, on = 1;
    while ((file = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (file >= MAX_FILES) {
            close(file);
            continue;
        }
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        place_of[file] = 0;
        watch(file);
    }
}

static void read_from(int file) {
    static char scratch[65536];
    if (read(file, scratch, sizeof scratch) > 0) {
        if (!place_of[file] && write(file, ANSWER, sizeof ANSWER - 1) > 0) {
            viewers[viewer_count++] = file;
            place_of[file] = viewer_count;
        }
        return;
    }
    if (place_of[file]) { /* the last takes the place of the one that leaves */
        int last = viewers[--viewer_count];
        viewers[place_of[file] - 1] = last;
        place_of[last] = place_of[file];
    }
    close(file);
}

static size_t make_head(unsigned char *frame, size_t size) {
    frame[0] = 0x81;
    if (size < 126) {
        frame[1] = (unsigned char)size;
        return 2;
    }
    frame[1] = 126;
    frame[2] = (unsigned char)(size >> 8);
    frame[3] = (unsigned char)size;
    return 4;
}

static void send_round(unsigned char *frame, size_t head, size_t size) {
    struct timespec now;
    char marker[MARKER + 1];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(marker, sizeof marker, "~%016llx", now.tv_sec * 1000000000ull + now.tv_nsec);
    memcpy(frame + head, marker, size < MARKER ? size : MARKER);
    for (int i = 0; i < viewer_count; i++)
        send(viewers[i], frame, head + size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int main(int count, char **words) {
    if (count != 3 || atof(words[1]) <= 0 || atoi(words[2]) < 1 || atoi(words[2]) > MAX_PAYLOAD) {
        fprintf(stderr, "usage: floor RATE SIZE\n");
        return 2;
    }
    long long period = (long long)(1e9 / atof(words[1]));
    size_t size = (size_t)atoi(words[2]);
    static unsigned char frame[MAX_PAYLOAD + 4];
    memset(frame, '.', sizeof frame);
    size_t head = make_head(frame, size);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("floor");
        return 1;
    }
    struct timespec every = {period / 1000000000, period % 1000000000};
    struct itimerspec rounds = {.it_interval = every, .it_value = every};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    timerfd_settime(timer, 0, &rounds, NULL);
    poller = epoll_create1(0);
    watch(listener);
    watch(timer);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        struct epoll_event events[1024];
        int ready = epoll_wait(poller, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            int file = events[i].data.fd;
            unsigned long long missed; /* rounds that could not be kept up with are left out */
            if (file == listener)
                accept_all(listener);
            else if (file != timer)
                read_from(file);
            else if (read(timer, &missed, sizeof missed) == sizeof missed)
                send_round(frame, head, size);
        }
    }
}
