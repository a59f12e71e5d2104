-- name: median_seconds$
-- How long the latest deployments held their slot.
select percentile_cont(0.5) within group (order by extract(epoch from freed_at - admitted_at))::float8
from (
  select admitted_at, freed_at from deployment
  where freed_at > now() - interval '1 day' and admitted_at is not null
  order by freed_at desc limit 100
) recent;

-- name: waiting
select d.organization_id, count(*) as waiting,
  extract(epoch from now() - min(d.accepted_at))::float8 as oldest_age_seconds,
  (select count(*) from deployment r
    where r.organization_id = d.organization_id and r.admitted_at is not null and r.freed_at is null) as running
from deployment d
where d.admitted_at is null and d.outcome is null
  and (:organization_id::text is null or d.organization_id = :organization_id)
group by d.organization_id
order by waiting desc, d.organization_id;

-- name: running$
select count(*) from deployment where admitted_at is not null and freed_at is null;

-- name: pauses
select nullif(organization_id, '') as organization_id, paused_by, extract(epoch from paused_at)::float8 as paused_at
from queue_pause
where :organization_id::text is null or organization_id in ('', :organization_id)
order by queue_pause.organization_id;

-- name: pause!
insert into queue_pause (organization_id, paused_by) values (coalesce(:organization_id::text, ''), :paused_by)
on conflict (organization_id) do nothing;

-- name: resume!
delete from queue_pause where organization_id = coalesce(:organization_id::text, '');

-- name: repairs
select name, repaired, extract(epoch from last_at)::float8 as last_at from repair order by name;

-- name: removals
select name, removed from removal order by name;

-- name: projected$
select coalesce((select sequence from projection_position where name = 'status'), 0);

-- name: totals
-- Every deployment by where its row and its projection stand.
select p.stage, coalesce(p.finished, false) as finished, d.outcome, count(*)::int as count
from deployment d left join deployment_progress p on p.deployment_id = d.id
where :organization_id::text is null or d.organization_id = :organization_id
group by 1, 2, 3;

-- name: ended
-- How many ended in the last hour and day, by outcome.
select d.outcome, count(*) filter (where d.freed_at > now() - interval '1 hour')::int as hour, count(*)::int as day
from deployment d
where d.freed_at > now() - interval '1 day' and d.outcome is not null
  and (:organization_id::text is null or d.organization_id = :organization_id)
group by d.outcome;

-- name: step_times
-- How long the steps of those took that ended in the last hour and day, in milliseconds.
select s.step, w.name as window, count(*)::int as count,
  percentile_cont(0.5) within group (order by s.milliseconds)::float8 as p50,
  percentile_cont(0.95) within group (order by s.milliseconds)::float8 as p95
from (
  select s.step, d.freed_at, extract(epoch from s.completed_at - s.started_at) * 1000 as milliseconds
  from deployment d join deployment_step s on s.deployment_id = d.id
  where d.freed_at > now() - interval '1 day' and s.status = 'completed' and s.started_at is not null
    and (:organization_id::text is null or d.organization_id = :organization_id)
) s join (values ('hour', interval '1 hour'), ('day', interval '1 day')) w (name, length)
  on s.freed_at > now() - w.length
group by s.step, w.name;

-- name: running_of$
select count(*)::int from deployment
where admitted_at is not null and freed_at is null
  and (:organization_id::text is null or organization_id = :organization_id);
