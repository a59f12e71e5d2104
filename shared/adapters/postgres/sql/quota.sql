-- name: of
select plan_id, plan_name, billing_interval, usable, remaining, reserved, used,
  extract(epoch from since)::float8 as since, extract(epoch from refreshes_at)::float8 as refreshes_at,
  extract(epoch from period_end)::float8 as period_end
from quota_of(:organization_id);
