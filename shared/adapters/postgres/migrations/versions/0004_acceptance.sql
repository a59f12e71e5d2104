-- The same request twice makes one deployment.
create table idempotency (
  organization_id text not null,
  key text not null,
  body_digest bytea not null,
  deployment_id text not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, key)
);
