-- One unit of an organisation's quota for each deployment: reserved when it is accepted, committed or returned when it
-- ends. Only subscription_limit.deploy_limit is known of a plan: what is left of it. So a refresh gives back what was
-- taken since the one before; what remains and what was taken since then are together always the plan's allotment.

drop function if exists quota_of;

create or replace function is_free(p_plan_name text) returns boolean language sql immutable as $$
  select p_plan_name ~* '\mfree$'
$$;

-- Since when the units are counted that a plan has left; the platform resets a plan by moving either moment.
create or replace function counted_since(p_plan subscription_limit) returns timestamptz language sql immutable as $$
  select greatest(p_plan.last_quota_refresh, p_plan.period_start)
$$;

create or replace function is_usable(p_plan subscription_limit) returns boolean language sql stable as $$
  select p_plan.is_active and p_plan.period_end > now()
$$;

-- A plan that is paid yearly has its allotment every month.
create or replace function is_refresh_due(p_plan subscription_limit) returns boolean language sql stable as $$
  select p_plan.billing_interval = 'year' and not is_free(p_plan.plan_name) and is_usable(p_plan)
    and counted_since(p_plan) + interval '1 month' <= now()
$$;

create or replace function taken_since(p_plan_id text, p_since timestamptz) returns int language sql stable as $$
  select count(*)::int from quota_ledger
  where plan = p_plan_id and reserved_at >= p_since and settled is distinct from 'returned'
$$;

-- The last of the monthly moments, counted from p_since, that has passed.
create or replace function last_monthly(p_since timestamptz) returns timestamptz language sql stable as $$
  select p_since + interval '1 month'
    * greatest(1, extract(year from age(now(), p_since)) * 12 + extract(month from age(now(), p_since)))
$$;

-- The plan that a unit was taken from: a yearly paid one first, then FREE, then any other; null when nothing is left.
-- An organisation without any plan is not metered: the answer is ''.
create or replace function reserve_quota(p_organization_id text) returns text language plpgsql as $$
declare
  v_plan text;
begin
  perform from subscription_limit where organization_id = p_organization_id order by id for no key update;
  if not found then return ''; end if;
  update subscription_limit s set deploy_limit = deploy_limit + taken_since(s.id, counted_since(s)),
      last_quota_refresh = last_monthly(counted_since(s)), updated_at = now()
    where organization_id = p_organization_id and is_refresh_due(s);
  update subscription_limit set deploy_limit = deploy_limit - 1, updated_at = now()
    where id = (
      select id from subscription_limit s
      where organization_id = p_organization_id and is_usable(s) and deploy_limit > 0
      order by (billing_interval = 'year' and not is_free(plan_name)) desc, is_free(plan_name) desc, created_at, id
      limit 1)
    returning id into v_plan;
  return v_plan;
end $$;

-- A unit that was taken before the plan's last refresh came back with the refresh.
create or replace function settle_quota(p_deployment_id text, p_spent boolean) returns void language plpgsql as $$
declare
  v_unit quota_ledger;
begin
  update quota_ledger set settled = case when p_spent then 'committed' else 'returned' end, settled_at = clock_timestamp()
    where deployment_id = p_deployment_id and settled is null
    returning * into v_unit;
  if found and not p_spent then
    update subscription_limit s set deploy_limit = deploy_limit + 1, updated_at = now()
      where id = v_unit.plan and v_unit.reserved_at >= counted_since(s);
  end if;
end $$;

-- An organisation's plans in the order in which they are used, as the next acceptance would find them.
create function quota_of(p_organization_id text)
returns table (plan_id text, plan_name text, billing_interval text, usable boolean, remaining int, reserved int, used int,
  since timestamptz, refreshes_at timestamptz, period_end timestamptz)
language sql stable as $$
  select s.id, s.plan_name, coalesce(s.billing_interval, 'month'), is_usable(s),
    s.deploy_limit + case when is_refresh_due(s) then taken_since(s.id, counted_since(s)) else 0 end,
    (select count(*)::int from quota_ledger q where q.plan = s.id and q.settled is null),
    (select count(*)::int from quota_ledger q
      where q.plan = s.id and q.reserved_at >= counted.since and q.settled = 'committed'),
    counted.since,
    case when s.billing_interval = 'year' and not is_free(s.plan_name) then counted.since + interval '1 month' end,
    s.period_end
  from subscription_limit s
    cross join lateral (
      select case when is_refresh_due(s) then last_monthly(counted_since(s)) else counted_since(s) end as since
    ) counted
  where s.organization_id = p_organization_id
  order by is_usable(s) desc, (s.billing_interval = 'year' and not is_free(s.plan_name)) desc, is_free(s.plan_name) desc,
    s.created_at, s.id
$$;
