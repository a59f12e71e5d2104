-- Where a project is served: its site's name and pointer, and whether it may move.

drop function if exists point_site;

create or replace function site_name(p_project_id text) returns text language sql immutable as $$
  select case
    when p_project_id ~ '^[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?$' then p_project_id || '-worker'
    else trim(both '-' from left(regexp_replace(lower(p_project_id), '[^a-z0-9]+', '-', 'g'), 46))
         || '-' || left(md5(p_project_id), 8) || '-worker'
  end
$$;

create or replace function make_site(p_project_id text, p_organization_id text) returns text language sql as $$
  insert into site (name, project_id, organization_id)
    values (site_name(p_project_id), p_project_id, p_organization_id)
    returning name
$$;

-- The deploy step: make the site's pointer name this deployment's release. A deployment moves the pointer once: when
-- it finds it elsewhere at a later attempt, a rollback came after it, and the last one to move it wins.
-- verdict: pointed (also when it was before) | ended (or its claim is lost) | locked | overtaken
create function point_site(p_deployment_id text, p_release_id text) returns text language plpgsql as $$
declare
  v_project_id text;
  v_site site;
begin
  select project_id into v_project_id from deployment
    where id = p_deployment_id and outcome is null and freed_at is null for update;
  if not found then return 'ended'; end if;
  select * into v_site from site where project_id = v_project_id for update;
  if v_site.release_id = p_release_id then return 'pointed'; end if;
  if exists (select from project_lock where project_id = v_project_id) then return 'locked'; end if;
  update release set pointed_at = clock_timestamp() where id = p_release_id and pointed_at is null;
  if not found then return 'overtaken'; end if;
  update site set
    previous_release_id = case when confirmed then release_id else previous_release_id end,
    release_id = p_release_id, confirmed = false, moved_by = p_deployment_id, updated_at = now()
    where name = v_site.name;
  return 'pointed';
end $$;

-- Whoever waits for these rows to move a pointer or to be accepted sees the lock afterwards.
create or replace function lock_project(p_project_id text, p_locked_by text, p_reason text) returns project_lock
language plpgsql as $$
declare
  v_lock project_lock;
begin
  perform from project where id = p_project_id for no key update;
  perform from site where project_id = p_project_id for update;
  insert into project_lock (project_id, locked_by, reason) values (p_project_id, p_locked_by, p_reason)
    on conflict (project_id) do update
      set locked_by = excluded.locked_by, reason = excluded.reason, locked_at = excluded.locked_at
    returning * into v_lock;
  return v_lock;
end $$;

-- The edge caches pointers, by site and by custom domain, and is told when one moves. Notifying takes a lock that
-- makes commits wait for each other, so a new site, which has no release yet, does not notify.
create or replace function notify_site_changed() returns trigger language plpgsql as $$
declare
  v_site site := coalesce(new, old);
begin
  update release set replaced_at = clock_timestamp() where id = old.release_id;
  perform pg_notify('site_changed', v_site.name);
  perform pg_notify('site_changed', hostname) from domain
    where project_id = v_site.project_id and state in ('verified', 'active');
  return null;
end $$;
create or replace trigger site_changed after update of release_id on site
  for each row when (old.release_id is distinct from new.release_id) execute function notify_site_changed();
create or replace trigger site_removed after delete on site
  for each row execute function notify_site_changed();
