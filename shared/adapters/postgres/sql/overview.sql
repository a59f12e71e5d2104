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

-- name: projected$
select coalesce((select sequence from projection_position where name = 'status'), 0);
