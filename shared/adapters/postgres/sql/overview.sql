-- name: median_seconds$
-- How long recent deployments held their slot.
select percentile_cont(0.5) within group (order by extract(epoch from freed_at - admitted_at))::float8
from (
  select admitted_at, freed_at from deployment
  where admitted_at > now() - interval '1 day' and freed_at is not null
  order by accepted_at desc limit 100
) recent;

-- name: waiting
select organization_id, count(*) as waiting,
  extract(epoch from now() - min(accepted_at))::float8 as oldest_age_seconds
from deployment
where admitted_at is null and outcome is null
  and (:organization_id::text is null or organization_id = :organization_id)
group by organization_id
order by waiting desc, organization_id;

-- name: running$
select count(*) from deployment where admitted_at is not null and freed_at is null;
