-- What a deployment is made of, and the snapshots that remember it.

drop function if exists chosen_source;

-- Whether a snapshot is the source of deployments that name none: it was uploaded, or fetched because a caller said so.
-- What follows from the platform's own formats or the project's row is read anew each time.
create or replace function is_default_source(p_origin jsonb) returns boolean language sql immutable as $$
  select coalesce(p_origin ->> 'type', '') <> 'platform' and not p_origin ? 'ofProject'
$$;

-- The manifest of a tree, '' when it is yet to be fetched or there is none, null when there is no such snapshot; and
-- how it was given. p_tree, a SourceTree, is what the request brought. Without it, and without a snapshot that is meant
-- or serves by default, the project's row decides: is_derived tells the gateway to make the tree and to ask again.
-- A snapshot that is chosen is not removed meanwhile.
create function chosen_source(
  p_project_id text, p_snapshot_id text, p_tree jsonb, p_templates text[],
  out manifest text, out origin jsonb, out is_derived boolean
) language plpgsql as $$
declare
  v_project project;
begin
  is_derived := false;
  if p_tree is not null then
    manifest := p_tree ->> 'manifest';
    origin := p_tree -> 'origin';
    return;
  end if;
  select s.manifest, s.origin into manifest, origin from snapshot s
    where s.project_id = p_project_id
      and case when p_snapshot_id is null then is_default_source(s.origin) else s.id = p_snapshot_id end
    order by s.created_at desc limit 1 for key share;
  if found or p_snapshot_id is not null then return; end if;
  select * into v_project from project p where p.id = p_project_id;
  if v_project.message_history not in ('', '[]') or v_project.template_type = any(p_templates) then
    is_derived := true;
  elsif v_project.git_url <> '' then
    manifest := '';
    origin := jsonb_build_object('type', 'git', 'url', v_project.git_url, 'ref', coalesce(v_project.git_branch, ''),
      'ofProject', true);
  else
    select s.manifest, s.origin into manifest, origin from snapshot s
      where s.project_id = p_project_id order by s.created_at desc limit 1 for key share;
  end if;
end $$;

-- Make a snapshot of a SourceTree, unless there is no tree yet.
create or replace function record_tree(p_project_id text, p_organization_id text, p_tree jsonb) returns void
language sql as $$
  insert into snapshot (id, project_id, organization_id, manifest, file_count, total_bytes, origin)
  select 'snap_' || replace(gen_random_uuid()::text, '-', ''), p_project_id, p_organization_id,
    p_tree ->> 'manifest', (p_tree ->> 'fileCount')::int, (p_tree ->> 'totalBytes')::bigint, p_tree -> 'origin'
  where p_tree ->> 'manifest' <> ''
$$;

-- Freeze what was fetched for a deployment, once; return the manifest that counts.
create or replace function freeze_source(p_id text, p_tree jsonb) returns text language plpgsql as $$
declare
  v deployment;
begin
  update deployment set source = p_tree ->> 'manifest', origin = p_tree -> 'origin'
    where id = p_id and source = '' returning * into v;
  if found then perform record_tree(v.project_id, v.organization_id, p_tree); end if;
  return (select source from deployment where id = p_id);
end $$;
