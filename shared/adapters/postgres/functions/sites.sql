-- Where a project is served: its site's name and pointer.

create or replace function site_name(p_project_id text) returns text language sql immutable as $$
  select case
    when p_project_id ~ '^[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?$' then p_project_id || '-worker'
    else trim(both '-' from left(regexp_replace(lower(p_project_id), '[^a-z0-9]+', '-', 'g'), 46))
         || '-' || left(md5(p_project_id), 8) || '-worker'
  end
$$;

-- The deploy step: make the site's pointer name this deployment's release, unless the deployment
-- has an outcome or has lost its claim.
create or replace function point_site(p_deployment_id text, p_release_id text) returns boolean language plpgsql as $$
declare
  v_project_id text;
begin
  select project_id into v_project_id from deployment
    where id = p_deployment_id and outcome is null and freed_at is null for update;
  if not found then return false; end if;
  update site set
    previous_release_id = case when confirmed then release_id else previous_release_id end,
    release_id = p_release_id, confirmed = false, updated_at = now()
    where project_id = v_project_id and release_id is distinct from p_release_id;
  return true;
end $$;

-- The edge caches pointers and is told when one moves. Notifying takes a lock that makes commits wait for
-- each other, so a new site, which has no release yet, does not notify.
create or replace function notify_site_changed() returns trigger language plpgsql as $$
begin
  perform pg_notify('site_changed', new.name);
  return null;
end $$;
create or replace trigger site_changed after update of release_id on site
  for each row execute function notify_site_changed();
