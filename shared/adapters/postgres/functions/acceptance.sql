-- The gateway: record a deployment and take its project's claim, or say why not. What only looks something up is a
-- stable function that returns a table, for the planner makes that a part of the query that asks: half the cost.

drop function if exists accept_deployments;
drop function if exists accept_deployment;
drop function if exists first_answer;
drop function if exists project_terms;
drop function if exists present_deployment;
drop function if exists rate_wait;
drop function if exists is_queue_full;

-- What a request with this key was answered: `repeated` with the first answer, `key_reused` when it asked for something
-- else, no verdict when there was none. Another request with the key waits until this one has its answer.
create function first_answer(
  p_organization_id text, p_key text, p_body_digest bytea,
  out verdict text, out deployment_id text, out accepted_at timestamptz, out superseded_id text
) language plpgsql as $$
declare
  v_first idempotency;
begin
  perform pg_advisory_xact_lock(hashtextextended(p_organization_id || ' ' || p_key, 0));
  select * into v_first from idempotency
    where organization_id = p_organization_id and key = p_key and created_at > now() - interval '1 day';
  if not found then return; end if;
  if v_first.body_digest <> p_body_digest then verdict := 'key_reused'; return; end if;
  verdict := 'repeated';
  deployment_id := v_first.deployment_id;
  accepted_at := v_first.created_at;
  superseded_id := v_first.superseded_id;
end $$;

-- What the project says about its deployments; its row is locked, so that they are accepted one after the other.
-- `refusal` is null when it may be deployed, else why not; `site` is null as long as it has none.
create function project_terms(
  p_project_id text, p_organization_id text, out refusal text, out site text, out settings jsonb
) language plpgsql as $$
begin
  perform from project where id = p_project_id and organization_id = p_organization_id for no key update;
  if not found then refusal := 'not_found'; return; end if;
  select case when x.project_id is not null then 'not_found' when not p.is_active then 'inactive'
      when l.project_id is not null then 'locked' end, s.name, coalesce(t.settings, '{}')
    into refusal, site, settings
    from project p
    left join deleted_project x on x.project_id = p.id
    left join project_lock l on l.project_id = p.id
    left join site s on s.project_id = p.id
    left join project_settings t on t.project_id = p.id
    where p.id = p_project_id;
end $$;

create function present_deployment(p_project_id text) returns table (id text, state text) language sql stable as $$
  select d.id, case when coalesce(p.stage, 'validate') in ('validate', 'sandbox') then 'preparing' else 'deploying' end
  from deployment d left join deployment_progress p on p.deployment_id = d.id
  where d.project_id = p_project_id and d.freed_at is null
  order by d.accepted_at desc limit 1
$$;

-- Cancel a project's present deployment, if there is one; return its id. Rows are locked in the order in which
-- end_deployment and reserve_quota lock them.
create or replace function end_present(p_project_id text, p_organization_id text, p_failure jsonb) returns text
language plpgsql as $$
declare
  v_id text;
  v_decided boolean;
begin
  select id into v_id from deployment where project_id = p_project_id and outcome is null for update;
  if not found then return null; end if;
  perform from subscription_limit where organization_id = p_organization_id order by id for no key update;
  select decided into v_decided from end_deployment(v_id, 'cancelled', p_failure, '', '');
  return case when v_decided then v_id end;
end $$;

-- The seconds that a user has to wait before the project may be deployed once more; no row when none.
create function rate_wait(p_project_id text, p_user_id text, p_limit int, p_window_seconds int, p_now timestamptz)
returns table (seconds int) language sql stable as $$
  select ceil(extract(epoch from accepted_at + make_interval(secs => p_window_seconds) - p_now))::int
  from deployment
  where project_id = p_project_id and user_id = p_user_id
    and accepted_at > p_now - make_interval(secs => p_window_seconds)
  order by accepted_at desc offset p_limit - 1 limit 1
$$;

-- The deployments of the organisation's other projects that wait for admission.
create or replace function waiting_beside(p_organization_id text, p_project_id text) returns setof text
language sql stable as $$
  select id from deployment
  where organization_id = p_organization_id and admitted_at is null and outcome is null and project_id <> p_project_id
$$;

-- End the block that it is called in: what was done there is undone, and p_verdict is the answer.
create or replace function refuse(p_verdict text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'ZD001', message = p_verdict;
end $$;

-- verdict: accepted | repeated | key_reused | not_found | inactive | locked | in_progress (active_id, active_state)
--   | snapshot_not_found | from_project | expired (the source to deploy again is no longer kept) | quota_exceeded | rate_limited (retry_after) | queue_full
-- Whoever reads it sees the order of the checks. The same id again is accepted again and changes nothing.
-- With p_retry_of source, settings, priority and target are those of that deployment. With p_superseding, the failure
-- that the project's present deployment is to end with, that one is cancelled first; superseded_id tells which, for the
-- caller to call off. Without p_key, p_rate_limit there is no first answer, no limit. p_tree and p_templates are those of
-- chosen_source; from_project: the caller is to make a p_tree of the project's row and to ask again.
create function accept_deployment(
  p_id text, p_project_id text, p_organization_id text, p_user_id text,
  p_priority int, p_target text, p_timeout_seconds double precision, p_debug boolean, p_snapshot_id text,
  p_tree jsonb, p_templates text[], p_traceparent text, p_retry_of text, p_superseding jsonb, p_key text, p_body_digest bytea,
  p_max_waiting int, p_rate_limit int, p_rate_window_seconds int,
  out verdict text, out deployment_id text, out accepted_at timestamptz, out superseded_id text,
  out active_id text, out active_state text, out retry_after int
) language plpgsql as $$
declare
  v_terms record;
  v_origin deployment;
  v_source record;
  v_plan text;
  v_now timestamptz;
begin
  if p_key is not null then
    select f.* into verdict, deployment_id, accepted_at, superseded_id
      from first_answer(p_organization_id, p_key, p_body_digest) f;
    if verdict is not null then return; end if;
  end if;

  select * into v_terms from project_terms(p_project_id, p_organization_id);
  verdict := v_terms.refusal;
  select d.id, d.accepted_at into deployment_id, accepted_at from deployment d where d.id = p_id;
  if found then verdict := 'accepted'; end if;
  if verdict is not null then return; end if;

  if p_superseding is null then
    select p.id, p.state into active_id, active_state from present_deployment(p_project_id) p;
    if active_id is not null then verdict := 'in_progress'; return; end if;
  end if;

  if p_retry_of is null then
    select * into v_source from chosen_source(p_project_id, p_snapshot_id, p_tree, p_templates);
    if v_source.is_derived then verdict := 'from_project'; return; end if;
  else
    select * into v_origin from deployment where id = p_retry_of and project_id = p_project_id for share;
    if v_origin.expired_at is not null then verdict := 'expired'; return; end if;
    select v_origin.source as manifest, v_origin.origin into v_source;
  end if;
  if v_source.manifest is null and num_nonnulls(p_snapshot_id, p_retry_of) > 0 then
    verdict := 'snapshot_not_found'; return;
  end if;

  begin
    if p_superseding is not null then
      superseded_id := end_present(p_project_id, p_organization_id, p_superseding);
    end if;
    v_plan := reserve_quota(p_organization_id);
    if v_plan is null then perform refuse('quota_exceeded'); end if;
    if p_rate_limit is not null then
      v_now := clock_timestamp();
      select w.seconds into retry_after
        from rate_wait(p_project_id, p_user_id, p_rate_limit, p_rate_window_seconds, v_now) w;
      if found then perform refuse('rate_limited'); end if;
    end if;
    perform from waiting_beside(p_organization_id, p_project_id) offset p_max_waiting - 1 limit 1;
    if found then perform refuse('queue_full'); end if;
  exception when sqlstate 'ZD001' then
    verdict := sqlerrm; superseded_id := null; return;
  end;

  verdict := 'accepted';
  deployment_id := p_id;
  accepted_at := clock_timestamp();
  insert into deployment (id, project_id, organization_id, user_id, priority, target, timeout_seconds, debug, source,
      origin, site, settings, variables, traceparent, retry_of, accepted_at)
    values (p_id, p_project_id, p_organization_id, p_user_id,
      coalesce(v_origin.priority, p_priority), coalesce(v_origin.target, p_target, v_terms.settings ->> 'target', 'local'),
      coalesce(v_origin.timeout_seconds, p_timeout_seconds), coalesce(v_origin.debug, p_debug),
      coalesce(v_source.manifest, ''), coalesce(v_source.origin, '{}'),
      coalesce(v_terms.site, make_site(p_project_id, p_organization_id)), coalesce(v_origin.settings, v_terms.settings),
      coalesce(v_origin.variables, (select v.variables from project_variables(p_project_id) v)), p_traceparent, p_retry_of,
      accepted_at);
  if p_tree is not null then perform record_tree(p_project_id, p_organization_id, p_tree); end if;
  if v_plan <> '' then
    insert into quota_ledger (deployment_id, organization_id, plan) values (p_id, p_organization_id, v_plan);
  end if;
  if p_key is not null then
    insert into idempotency values (p_organization_id, p_key, p_body_digest, p_id, superseded_id, accepted_at)
      on conflict (organization_id, key) do update set body_digest = excluded.body_digest,
        deployment_id = excluded.deployment_id, superseded_id = excluded.superseded_id, created_at = excluded.created_at;
  end if;
  update project set deployment_status = 'preparing', workflow_id = p_id, updated_at = now() where id = p_project_id;
  perform announce('deployment.accepted', d) from deployment d
    where d.id = p_id and exists (select from webhook w where w.organization_id = p_organization_id);
end $$;

-- Orders that were given in the same moment, decided in turn in one transaction; the verdicts are in the same order.
-- Locks are kept until the last is decided, so those that several orders may share are taken first, by id: groups of
-- several gateways never wait for each other in a circle. An order that would lock more (p_key, p_retry_of,
-- p_superseding) is to come alone. Everything is found by an index, whatever statistics taken while the tables were
-- short say, and planned once.
create function accept_deployments(p_orders jsonb) returns table (
  verdict text, deployment_id text, accepted_at timestamptz, superseded_id text,
  active_id text, active_state text, retry_after int
) language plpgsql
set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  if jsonb_array_length(p_orders) > 1 then
    perform from project
      where id = any(array(select o ->> 'project_id' from jsonb_array_elements(p_orders) o))
      order by id for no key update;
    perform from subscription_limit
      where organization_id = any(array(select o ->> 'organization_id' from jsonb_array_elements(p_orders) o))
      order by id for no key update;
  end if;
  return query
    select a.* from jsonb_to_recordset(p_orders) as o (
      id text, project_id text, organization_id text, user_id text, priority int, target text,
      timeout_seconds double precision, debug boolean, snapshot_id text, tree jsonb, templates text[], traceparent text,
      retry_of text, superseding jsonb, key text, body_digest text, max_waiting int, rate_limit int, rate_window_seconds int)
    cross join lateral accept_deployment(
      o.id, o.project_id, o.organization_id, o.user_id, o.priority, o.target, o.timeout_seconds, o.debug, o.snapshot_id,
      o.tree, o.templates, o.traceparent, o.retry_of, o.superseding, o.key, decode(o.body_digest, 'hex'),
      o.max_waiting, o.rate_limit, o.rate_window_seconds) a;
end $$;
