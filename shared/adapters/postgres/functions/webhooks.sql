-- Webhooks: an event is recorded for each webhook that wants it, in the transaction that makes it true; the sender
-- takes what is due and records what became of it.

drop function if exists claim_deliveries;

create or replace function iso_time(p_at timestamptz) returns text language sql stable as $$
  select to_char(p_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create or replace function new_message_id() returns text language sql volatile as $$
  select 'msg_' || replace(gen_random_uuid()::text, '-', '')
$$;

-- A message in the form of Standard Webhooks; what is null is left out.
create or replace function webhook_message(p_event text, p_data json) returns text language sql volatile as $$
  select json_strip_nulls(
    json_build_object('type', p_event, 'timestamp', iso_time(clock_timestamp()), 'data', p_data))::text
$$;

create or replace function deployment_facts(p deployment) returns json language sql stable as $$
  select json_build_object(
    'deploymentId', p.id, 'projectId', p.project_id,
    'projectName', (select name from project where id = p.project_id),
    'organizationId', p.organization_id, 'userId', p.user_id, 'target', p.target, 'priority', p.priority,
    'retryOf', p.retry_of, 'acceptedAt', iso_time(p.accepted_at), 'startedAt', iso_time(p.admitted_at),
    'endedAt', iso_time(p.ended_at), 'outcome', p.outcome, 'url', p.url, 'releaseId', p.release_id,
    'diagnosis', p.failure)
$$;

-- Tell a deployment's organisation. A transition happens once, so the key only makes sure: a deployment accepted,
-- started or ended in a commit that was lost with the server is the same message when it happens again. Where no
-- webhook wants it this is one look into an index. Nobody is notified: that would make commits wait for each other.
create or replace function announce(p_event text, p deployment) returns void language plpgsql as $$
begin
  if not exists (select from webhook w where w.organization_id = p.organization_id) then return; end if;
  insert into webhook_delivery (id, webhook_id, event, payload)
    select 'msg_' || md5(w.id || ' ' || p_event || ' ' || p.id), w.id, p_event,
      webhook_message(p_event, deployment_facts(p))
    from webhook w
    where w.organization_id = p.organization_id and w.is_active and p_event = any(w.events)
    on conflict do nothing;
end $$;

-- Tell an organisation what became of a release, which may happen to it several times; `p_more` joins the facts.
create or replace function announce_release(p_event text, p_release_id text, p_more jsonb default '{}') returns void
language plpgsql as $$
begin
  insert into webhook_delivery (id, webhook_id, event, payload)
    select new_message_id(), w.id, p_event, webhook_message(p_event, (p_more || jsonb_build_object(
      'releaseId', r.id, 'deploymentId', r.deployment_id, 'projectId', r.project_id,
      'projectName', (select name from project where id = r.project_id),
      'organizationId', r.organization_id, 'createdAt', iso_time(r.created_at)))::json)
    from release r join webhook w on w.organization_id = r.organization_id
    where r.id = p_release_id and w.is_active and p_event = any(w.events);
end $$;

-- The sender: up to `p_limit` deliveries that are due, leased to it and counted as tried. Each webhook is a lane of
-- its own with `p_limit_of_one` places, one while it fails again and again, none while it is paused, and lanes take
-- turns: whatever waits for one endpoint, the next delivery to another is found in as many steps as there are lanes.
-- Only walks along indexes are allowed: statistics taken while nothing waited mislead when much does.
create function claim_deliveries(p_limit int, p_limit_of_one int, p_failing int, p_lease_seconds double precision)
returns table (id text, webhook_id text, url text, secrets text[], event text, payload text, tries int,
  failures int, failing_since timestamptz, leased_until timestamptz)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock(hashtext('zepid.webhooks'));
  return query
    with recursive lane(id) as (
      (select d.webhook_id from webhook_delivery d where d.status = 'pending' order by d.webhook_id limit 1)
      union all
      select (select d.webhook_id from webhook_delivery d
        where d.status = 'pending' and d.webhook_id > l.id order by d.webhook_id limit 1)
      from lane l where l.id is not null
    ), chosen as (
      select due.id from lane l join webhook w on w.id = l.id cross join lateral (
        select d.id, d.next_try_at, row_number() over (order by d.next_try_at) as place
        from webhook_delivery d
        where d.webhook_id = w.id and d.status = 'pending' and d.next_try_at <= clock_timestamp()
          and (d.leased_until is null or d.leased_until < clock_timestamp())
        order by d.next_try_at
        limit greatest(0, case when w.failures >= p_failing then 1 else p_limit_of_one end - (
          select count(*) from webhook_delivery f where f.webhook_id = w.id and f.leased_until > clock_timestamp()))
      ) due
      where w.is_active and (w.paused_until is null or w.paused_until <= clock_timestamp())
      order by due.place, due.next_try_at limit p_limit
    )
    update webhook_delivery d
      set tries = d.tries + 1, leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds)
      from chosen c, webhook w
      where d.id = c.id and w.id = d.webhook_id
      returning d.id, w.id, w.url,
        array_remove(array[w.secret, case when w.previous_until > now() then w.previous_secret end], null),
        d.event, d.payload, d.tries, w.failures, w.failing_since, d.leased_until;
end $$;

-- What the endpoint took is delivered, even if the lease was over by then. Here and below the webhook is locked before
-- the delivery, as those do it who send one again.
create or replace function delivery_succeeded(p_id text, p_answer int) returns void language plpgsql as $$
begin
  update webhook set failures = 0, failing_since = null, paused_until = null
    where id = (select webhook_id from webhook_delivery where id = p_id) and failures > 0;
  update webhook_delivery set status = 'delivered', answer = p_answer, fault = null, delivered_at = clock_timestamp(),
      next_try_at = null, leased_until = null
    where id = p_id;
end $$;

-- A try that failed, unless another sender has taken it over: try again after `p_retry_seconds` (null: never again),
-- leave the endpoint alone for `p_pause_seconds`, and with a reason switch the webhook off.
create or replace function delivery_failed(
  p_id text, p_leased_until timestamptz, p_answer int, p_fault text,
  p_retry_seconds double precision, p_pause_seconds double precision, p_disabled_reason text
) returns void language plpgsql as $$
declare
  v_webhook_id text;
begin
  select w.id into v_webhook_id from webhook_delivery d join webhook w on w.id = d.webhook_id
    where d.id = p_id for no key update of w;
  update webhook_delivery set answer = p_answer, fault = p_fault, leased_until = null,
      status = case when p_retry_seconds is null then 'failed' else 'pending' end,
      next_try_at = clock_timestamp() + make_interval(secs => p_retry_seconds)
    where id = p_id and leased_until = p_leased_until;
  if not found then return; end if;
  update webhook set failures = failures + 1, failing_since = coalesce(failing_since, clock_timestamp()),
      paused_until = clock_timestamp() + make_interval(secs => p_pause_seconds),
      is_active = is_active and p_disabled_reason is null,
      disabled_reason = case when is_active then p_disabled_reason else disabled_reason end
    where id = v_webhook_id;
end $$;
