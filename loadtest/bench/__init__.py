"""Benchmarks: a real server process, measured from outside, beside the least a server can do.

``python -m liveroom.loadtest.bench [NAME ...]`` starts a server on one core, and its crowd and its embedded
Redis on another, and reads CPU and memory from the kernel. Knows ``protocol`` and the public contract only.
Rules: a cost is told as a ratio to the floor measured in the same run; a figure is never asserted in a test.

streams    frames and markers of one viewer: pure
swarm      thousands of viewers in one process
senders    what they send, and when
floor      the bare send loop
machine    processor time, memory and cores of processes
bench      servers and crowds, started and stopped
spread     figures of what goes out: fanout, coalesce, stall, bytes
intake     figures of what comes in: memory, joins, likes, claims
figures    a figure, the table, the file
"""
