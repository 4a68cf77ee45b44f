"""Flash sales: rules, the claim desk, orders. Knows no socket and no HTTP; the store is a port."""
