"""The hand-off of orders to a supply partner: signed webhooks and a pull feed, both out of one outbox."""
