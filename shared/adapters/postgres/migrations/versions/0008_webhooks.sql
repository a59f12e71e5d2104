-- Whom an organisation wants to be told, and every telling.
create table webhook (
  id text primary key,
  organization_id text not null,
  url text not null,
  secret text not null,
  events text[] not null,
  is_active boolean not null default true,
  created_at timestamptz not null default clock_timestamp()
);
create index webhook_of_organization on webhook (organization_id) where is_active;

create table webhook_delivery (
  id text primary key,
  webhook_id text not null references webhook on delete cascade,
  event text not null,
  payload jsonb not null,
  tries integer not null default 0,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  answer integer,
  fault text,
  created_at timestamptz not null default clock_timestamp(),
  next_try_at timestamptz default clock_timestamp(),
  delivered_at timestamptz
);
create index webhook_delivery_due on webhook_delivery (next_try_at) where next_try_at is not null;
create index webhook_delivery_of_webhook on webhook_delivery (webhook_id, created_at desc);
