-- Back to a kept release, without a build: the pointer moves in one call; when the public address was looked at,
-- a second one settles it. Whoever moves a pointer last wins, a deployment or a rollback.

drop function if exists roll_back;

-- verdict: switched | unchanged (it is live) | release_not_found | never_live | expired | locked
--   | no_target (what serves it, served_by, is none of p_targets)
-- The release was seen live before, so the pointer counts as confirmed at once. What a deployment that is going
-- live just now has put there, unseen, is left out when the pointer must go back later.
create function roll_back(
  p_id text, p_project_id text, p_release_id text, p_user_id text, p_reason text, p_targets text[],
  out verdict text, out served_by text, out made rollback
) language plpgsql as $$
declare
  v_release record;
  v_site site;
begin
  perform pg_advisory_xact_lock_shared(hashtext('zepid.collection'));
  select d.outcome, d.expired_at, d.target into v_release
    from release r join deployment d on d.id = r.deployment_id
    where r.id = p_release_id and r.project_id = p_project_id;
  served_by := coalesce(v_release.target, '');
  if v_release.target is null then verdict := 'release_not_found'; return; end if;
  if v_release.outcome is distinct from 'completed' then verdict := 'never_live'; return; end if;
  if v_release.expired_at is not null then verdict := 'expired'; return; end if;
  if served_by <> all (p_targets) then verdict := 'no_target'; return; end if;

  select * into v_site from site where project_id = p_project_id for update;
  if exists (select from project_lock where project_id = p_project_id) then verdict := 'locked'; return; end if;
  if v_site.release_id = p_release_id then verdict := 'unchanged'; return; end if;
  update site set
    previous_release_id = case when confirmed then release_id else previous_release_id end,
    release_id = p_release_id, confirmed = true, moved_by = p_id, updated_at = now()
    where name = v_site.name;
  insert into rollback (id, project_id, organization_id, site, target, from_release_id, to_release_id, user_id, reason)
    values (p_id, p_project_id, v_site.organization_id, v_site.name, v_release.target, v_site.release_id, p_release_id,
      p_user_id, p_reason)
    returning * into made;
  verdict := 'switched';
end $$;

-- The public address was seen answering as the release (no fault), or was not: then the pointer goes back, unless
-- somebody else has moved it since. Returns confirmed | undone | overtaken; the first call decides.
create or replace function settle_rollback(p_id text, p_fault text) returns text language plpgsql as $$
declare
  v rollback;
begin
  select * into v from rollback where id = p_id for update;
  if v.settled is not null then return v.settled; end if;
  v.settled := 'confirmed';
  if p_fault is not null then
    update site set
      release_id = previous_release_id, confirmed = previous_release_id is not null, moved_by = null, updated_at = now()
      where name = v.site and moved_by = p_id;
    v.settled := case when found then 'undone' else 'overtaken' end;
  end if;
  update rollback set settled = v.settled, settled_at = clock_timestamp(), fault = p_fault where id = p_id;
  if v.settled = 'confirmed' then
    perform announce_release('release.rolled_back', v.to_release_id, jsonb_build_object(
      'fromReleaseId', v.from_release_id, 'userId', v.user_id, 'reason', v.reason));
  end if;
  return v.settled;
end $$;

-- What has expired cannot be pinned, and what is pinned does not expire. verdict: done | release_not_found | expired
create or replace function pin_release(p_project_id text, p_release_id text, p_pinned boolean) returns text
language plpgsql as $$
declare
  v_expired boolean;
begin
  perform pg_advisory_xact_lock_shared(hashtext('zepid.collection'));
  select d.expired_at is not null into v_expired
    from release r join deployment d on d.id = r.deployment_id
    where r.id = p_release_id and r.project_id = p_project_id;
  if not found then return 'release_not_found'; end if;
  if p_pinned and v_expired then return 'expired'; end if;
  update release set pinned = p_pinned where id = p_release_id;
  return 'done';
end $$;
