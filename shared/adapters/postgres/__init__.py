"""PostgreSQL: migrations, guarded functions, named queries and the typed access to them."""
