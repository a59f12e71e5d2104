-- Intake: which waiting deployments may start; and for status, which of them start first.

drop function if exists admit_deployments;
drop function if exists place_in_queue;
drop function if exists waiting_organizations;

-- Every organisation with waiting deployments, each looked at once, so the cost does not grow with the number of
-- deployments. The last three columns give the order of their turns: who was served longest ago comes first; among
-- those that never were, the one whose first in line has the highest priority (negated here), then the oldest.
create function waiting_organizations()
returns table (id text, running bigint, served_at timestamptz, head_priority int, head_accepted_at timestamptz)
language sql stable as $$
  with recursive organization(id) as (
    (select d.organization_id from deployment d where d.admitted_at is null and d.outcome is null
      order by d.organization_id limit 1)
    union all
    select (select d.organization_id from deployment d
      where d.admitted_at is null and d.outcome is null and d.organization_id > o.id
      order by d.organization_id limit 1)
    from organization o where o.id is not null
  )
  select o.id,
    (select count(*) from deployment r
      where r.organization_id = o.id and r.admitted_at is not null and r.freed_at is null),
    coalesce((select max(s.admitted_at) from deployment s
      where s.organization_id = o.id and s.admitted_at is not null), '-infinity'),
    -head.priority, head.accepted_at
  from organization o cross join lateral (
    select d.priority, d.accepted_at from deployment d
    where d.organization_id = o.id and d.admitted_at is null and d.outcome is null
    order by d.priority desc, d.accepted_at, d.id limit 1
  ) head
$$;

-- Give free slots to waiting deployments: to the organisation with the fewest first, then to the one that was
-- served longest ago; within an organisation by priority, then age. One that is paused or has all its slots does
-- not hold up the others, nor does a deployment that waits for the end of the one it replaces. What is admitted
-- together differs by microseconds in admitted_at, so that it tells the order.
-- The commit waits for the disk: one that was lost with the server would run and yet count as waiting.
-- Only walks along indexes are allowed: statistics taken while the queue was short mislead when it is long.
create function admit_deployments(p_limit int, p_limit_of_one int, p_deadline_seconds double precision)
returns setof deployment language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_sort = off as $$
declare
  v_free int;
begin
  perform pg_advisory_xact_lock(hashtext('zepid.admission'));
  if exists (select from queue_pause where organization_id = '') then return; end if;
  select p_limit - count(*) into v_free from deployment where admitted_at is not null and freed_at is null;
  if v_free <= 0 then return; end if;
  return query
    with candidate as (
      select w.id, row_number() over (
        order by o.running + w.place, o.served_at, o.head_priority, o.head_accepted_at) as number
      from waiting_organizations() o cross join lateral (
        select d.id, row_number() over (order by d.priority desc, d.accepted_at, d.id) as place
        from deployment d
        where d.organization_id = o.id and d.admitted_at is null and d.outcome is null
          and not exists (select from deployment r
            where r.project_id = d.project_id and r.admitted_at is not null and r.freed_at is null)
        order by d.priority desc, d.accepted_at, d.id
        limit greatest(0, least(v_free, p_limit_of_one - o.running))
      ) w
      where not exists (select from queue_pause p where p.organization_id = o.id)
      order by number limit v_free
    ), admitted as (
      update deployment d set
        admitted_at = (select clock_timestamp()) + c.number * interval '1 microsecond',
        deadline = clock_timestamp() + make_interval(secs => least(p_deadline_seconds, d.timeout_seconds))
      from candidate c
      where d.id = c.id and num_nonnulls(d.admitted_at, d.outcome) = 0
      returning d
    )
    select (a.d).* from admitted a cross join lateral announce('deployment.started', a.d) order by (a.d).admitted_at;
end $$;

-- Where a waiting deployment stands; no row for any other. Organisations take turns, so its `place` within its own
-- organisation tells how many of each other one come first. `queue_position`: how many will be admitted before it
-- if no more arrive, plus one; those of paused organisations are left out.
create function place_in_queue(p_id text)
returns table (queue_position bigint, place bigint, running bigint, running_of_one bigint, paused boolean)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_sort = off as $$
declare
  v deployment;
begin
  select * into v from deployment d where d.id = p_id;
  if not found or v.admitted_at is not null or v.outcome is not null then return; end if;
  select count(*) into place from deployment d
    where d.organization_id = v.organization_id and d.admitted_at is null and d.outcome is null
      and (d.priority > v.priority or (d.priority = v.priority and (d.accepted_at, d.id) <= (v.accepted_at, v.id)));
  select count(*), count(*) filter (where d.organization_id = v.organization_id) into running, running_of_one
    from deployment d where d.admitted_at is not null and d.freed_at is null;
  paused := exists (select from queue_pause p where p.organization_id in ('', v.organization_id));
  with organization as materialized (
    select * from waiting_organizations() o
    where o.id = v.organization_id or not exists (select from queue_pause p where p.organization_id = o.id)
  )
  select place + coalesce(sum(first.number), 0) into queue_position
    from organization own cross join organization o cross join lateral (
      select count(*) as number from (
        select from deployment d
        where d.organization_id = o.id and d.admitted_at is null and d.outcome is null
        order by d.priority desc, d.accepted_at, d.id
        limit case when (o.served_at, o.head_priority, o.head_accepted_at)
          < (own.served_at, own.head_priority, own.head_accepted_at) then place else place - 1 end
      ) limited
    ) first
    where own.id = v.organization_id and o.id <> v.organization_id;
  return next;
end $$;
