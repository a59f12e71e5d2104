-- The same request twice makes one deployment.
create table idempotency (
  organization_id text not null,
  key text not null,
  body_digest bytea not null,
  deployment_id text not null,
  superseded_id text,
  created_at timestamptz not null,
  primary key (organization_id, key)
);
create index idempotency_age on idempotency (created_at);
comment on table idempotency is 'the first answer to a request that named a key; believed for a day';

-- What an order may ask for besides.
alter table deployment add column timeout_seconds double precision;
alter table deployment add column debug boolean not null default false;
comment on column deployment.timeout_seconds is 'its own time from admission to the deadline, where shorter than the service''s';

-- Quota is looked up by organisation, and counted from the plan's last refresh on.
create index if not exists subscription_limit_of_organization on subscription_limit (organization_id);
drop index quota_of_plan;
create index quota_of_plan on quota_ledger (plan, reserved_at);
