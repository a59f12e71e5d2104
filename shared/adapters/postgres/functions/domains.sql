-- Custom domains: asked for by any project, owned by the one that proved it.

-- verdict: claimed | taken | too_many. Asking again changes nothing.
create or replace function claim_domain(
  p_hostname text, p_project_id text, p_organization_id text, p_token text, p_most int
) returns text language plpgsql as $$
begin
  perform from project where id = p_project_id for no key update;
  if exists (select from domain where hostname = p_hostname and project_id = p_project_id) then return 'claimed'; end if;
  if exists (select from domain where hostname = p_hostname and state in ('verified', 'active')) then
    return 'taken';
  end if;
  if (select count(*) from domain where project_id = p_project_id) >= p_most then return 'too_many'; end if;
  insert into domain (hostname, project_id, organization_id, token)
    values (p_hostname, p_project_id, p_organization_id, p_token);
  return 'claimed';
end $$;

-- A claim that was given up is looked at again.
create or replace function ask_domain_again(p_hostname text, p_project_id text) returns void language plpgsql as $$
begin
  perform from project where id = p_project_id for no key update;
  update domain set state = 'pending', fault = '', tries = 0,
    asked_at = clock_timestamp(), next_try_at = clock_timestamp(), checked_at = null
    where hostname = p_hostname and project_id = p_project_id and state = 'failed';
end $$;

create or replace function remove_domain(p_hostname text, p_project_id text) returns boolean language plpgsql as $$
begin
  perform from project where id = p_project_id for no key update;
  delete from domain where hostname = p_hostname and project_id = p_project_id;
  return found;
end $$;

-- Write what a check found, unless somebody else has written meanwhile; p_tries is how often it was tried before.
-- Of two projects that prove to own a hostname the first keeps it; the other one's claim has failed.
create or replace function settle_domain(
  p_hostname text, p_project_id text, p_tries_before int, p_state text, p_fault text, p_tries int, p_seconds float8
) returns void language plpgsql as $$
declare
  v_next timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
begin
  perform from project where id = p_project_id for no key update;
  update domain set state = p_state, fault = p_fault, tries = p_tries, next_try_at = v_next,
    checked_at = clock_timestamp(),
    verified_at = case when p_state in ('verified', 'active') then coalesce(verified_at, clock_timestamp()) end
    where hostname = p_hostname and project_id = p_project_id and tries = p_tries_before;
exception when unique_violation then
  update domain set state = 'failed', fault = 'Another project has proved that it owns this domain',
    next_try_at = null, checked_at = clock_timestamp()
    where hostname = p_hostname and project_id = p_project_id and tries = p_tries_before;
end $$;

-- The platform reads a project's domain from its row: the best one, then the oldest. The edge is told what it may
-- serve. Whoever changes a domain has locked its project.
create or replace function show_domain() returns trigger language plpgsql as $$
declare
  v_project_id text := coalesce(new.project_id, old.project_id);
  v domain;
begin
  select * into v from domain where project_id = v_project_id
    order by array_position(array['active', 'verified', 'pending', 'failed'], state), created_at limit 1;
  update project set custom_domain = v.hostname, custom_domain_status = v.state,
    custom_domain_verified_at = v.verified_at, updated_at = now(),
    ownership_verification = case when v.hostname is not null then jsonb_build_object(
      'type', 'txt', 'name', '_zepid-challenge.' || v.hostname, 'value', v.token)::text end
    where id = v_project_id and (custom_domain, custom_domain_status, custom_domain_verified_at)
      is distinct from (v.hostname, v.state, v.verified_at);
  if new.state in ('verified', 'active') or old.state in ('verified', 'active') then
    perform pg_notify('site_changed', coalesce(new.hostname, old.hostname));
  end if;
  return null;
end $$;
create or replace trigger domain_shown after insert or update of state or delete on domain
  for each row execute function show_domain();
