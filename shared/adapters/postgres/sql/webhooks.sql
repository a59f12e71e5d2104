-- name: create^
-- No row when the organisation has as many as it may have.
insert into webhook (id, organization_id, url, description, events, secret)
select :id, :organization_id, :url, :description, :events, :secret
where (select count(*) from webhook where organization_id = :organization_id) < :most
returning *;

-- name: find^
select * from webhook where id = :id;

-- name: page
select * from webhook
where (:organization_id::text is null or organization_id = :organization_id)
  and (:after::text is null or (created_at, id) < (
    select c.created_at, c.id from webhook c
    where c.id = :after and (:organization_id::text is null or c.organization_id = :organization_id)))
order by created_at desc, id desc
limit :limit;

-- name: change^
-- What is null stays. Switched on again, the webhook starts without a past.
update webhook set
  url = coalesce(:url, url), description = coalesce(:description, description), events = coalesce(:events, events),
  is_active = coalesce(:is_active, is_active),
  disabled_reason = case when :is_active::boolean is null then disabled_reason end,
  failures = case when :is_active::boolean or :url::text is not null then 0 else failures end,
  failing_since = case when :is_active::boolean or :url::text is not null then null else failing_since end,
  paused_until = case when :is_active::boolean or :url::text is not null then null else paused_until end
where id = :id
returning *;

-- name: change_secret^
update webhook set previous_secret = secret, previous_until = now() + make_interval(secs => :overlap_seconds),
  secret = :secret
where id = :id
returning *;

-- name: remove!
with removed as (delete from webhook where id = :id returning id)
delete from webhook_delivery where webhook_id = (select id from removed);

-- name: deliveries
select id, event, tries, status, answer, fault, created_at, next_try_at, delivered_at from webhook_delivery
where webhook_id = :webhook_id
  and (:status::text is null or status = :status)
  and (:after::text is null
    or (created_at, id) < (select c.created_at, c.id from webhook_delivery c where c.id = :after))
order by created_at desc, id desc
limit :limit;

-- name: delivery^
select id, event, tries, status, answer, fault, created_at, next_try_at, delivered_at, payload from webhook_delivery
where webhook_id = :webhook_id and id = :id;

-- name: send_test^
-- First in its lane: what has waited since the webhook was made waits no longer than it.
with opened as (
  update webhook set paused_until = null where id = :webhook_id returning *
)
insert into webhook_delivery (id, webhook_id, event, payload, next_try_at)
select new_message_id(), id, :event,
  webhook_message(:event, json_build_object('webhookId', id, 'organizationId', organization_id)), created_at
from opened
returning id, event, tries, status, answer, fault, created_at, next_try_at, delivered_at;

-- name: send_again^
-- As `send_test`; the message keeps its id.
with opened as (
  update webhook set paused_until = null where id = :webhook_id returning *
)
update webhook_delivery d set status = 'pending', tries = 0, next_try_at = w.created_at, delivered_at = null
from opened w
where d.id = :id and d.webhook_id = w.id
returning d.id, d.event, d.tries, d.status, d.answer, d.fault, d.created_at, d.next_try_at, d.delivered_at;

-- name: claim
select id, webhook_id, url, secrets, event, payload, tries, failures,
  extract(epoch from failing_since)::float8 as failing_since, leased_until
from claim_deliveries(:limit, :limit_of_one, :failing, :lease_seconds);

-- name: succeeded$
select delivery_succeeded(:id, :answer);

-- name: failed$
select delivery_failed(:id, :leased_until, :answer, :fault, :retry_seconds, :pause_seconds, :disabled_reason);

-- name: remove_old$
-- At most so many at once; also what was announced to a webhook while it was removed ends here.
with removed as (
  delete from webhook_delivery where id in (
    select id from webhook_delivery where created_at < now() - make_interval(secs => :kept_seconds)
    order by created_at limit :limit)
  returning id)
select count(*) from removed;
