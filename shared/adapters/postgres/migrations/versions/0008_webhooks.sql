-- Whom an organisation wants to be told, and every telling.
create table webhook (
  id text primary key,
  organization_id text not null,
  url text not null,
  description text not null default '',
  events text[] not null,
  secret text not null,
  previous_secret text,
  previous_until timestamptz,
  is_active boolean not null default true,
  disabled_reason text,
  failures integer not null default 0,
  failing_since timestamptz,
  paused_until timestamptz,
  created_at timestamptz not null default clock_timestamp()
);
comment on column webhook.previous_secret is 'signs beside the present one until previous_until, so that receivers can change over';
comment on column webhook.disabled_reason is 'why the sender gave the webhook up; null while active, or when its owner switched it off';
comment on column webhook.failures is 'tries that failed since the last one that did not';
comment on column webhook.paused_until is 'an endpoint that fails again and again is left alone for a while';
create index webhook_of_organization on webhook (organization_id, created_at desc, id desc);

create table webhook_delivery (
  id text primary key,
  webhook_id text not null,
  event text not null,
  payload text not null,
  tries integer not null default 0,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  answer integer,
  fault text,
  created_at timestamptz not null default clock_timestamp(),
  next_try_at timestamptz default clock_timestamp(),
  leased_until timestamptz,
  delivered_at timestamptz
);
comment on column webhook_delivery.id is 'the message''s id, the same at every try: receivers drop what they have seen';
comment on column webhook_delivery.webhook_id is
  'no foreign key: removing a webhook must never fail the deployment that is being announced to it';
comment on column webhook_delivery.leased_until is 'a sender is trying; after that another may';
create index webhook_delivery_due on webhook_delivery (webhook_id, next_try_at) where status = 'pending';
create index webhook_delivery_leased on webhook_delivery (webhook_id) where leased_until is not null;
create index webhook_delivery_of_webhook on webhook_delivery (webhook_id, created_at desc, id desc);
create index webhook_delivery_age on webhook_delivery (created_at);
