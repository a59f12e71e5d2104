-- name: create^
with made as (
  insert into project (id, name, template_type, user_id, organization_id)
  values (:id, :name, 'custom', :user_id, :organization_id)
  returning *
), site_made as (
  insert into site (name, project_id, organization_id)
  select site_name(id), id, organization_id from made
  returning name
), settings_made as (
  insert into project_settings (project_id, settings) select id, :settings::jsonb from made
)
select m.id, m.name, m.organization_id, m.is_active, extract(epoch from m.created_at)::float8 as created_at,
  s.name as site, coalesce(:settings::jsonb ->> 'target', 'local') as target, :settings::jsonb as settings
from made m, site_made s;

-- name: find^
select p.id, p.name, p.organization_id, p.is_active, extract(epoch from p.created_at)::float8 as created_at,
  s.site, s.target, s.settings
from project p join served_project s on s.project_id = p.id
where p.id = :id and not exists (select from deleted_project where project_id = p.id);

-- name: change$
select change_project(:id, :name, :is_active, :settings, :seen);

-- name: delete^
select verdict, active_id, cancelled_id from delete_project(:id, :deleted_by, :seen, :cancelling);

-- name: platform_row^
-- What the platform's row says of a project's source.
select template_type, message_history, coalesce(git_url, '') as git_url, coalesce(git_branch, '') as git_branch
from project where id = :id and organization_id = :organization_id and is_active;

-- name: page
select p.id, p.name, p.organization_id, p.is_active, extract(epoch from p.created_at)::float8 as created_at,
  s.site, s.target, s.settings
from project p join served_project s on s.project_id = p.id
where (:organization_id::text is null or p.organization_id = :organization_id)
  and not exists (select from deleted_project where project_id = p.id)
  and (:after::text is null or (p.created_at, p.id) < (
    select c.created_at, c.id from project c
    where c.id = :after and (:organization_id::text is null or c.organization_id = :organization_id)))
order by p.created_at desc, p.id desc
limit :limit;

-- name: blob_sizes
-- What the organisation has not uploaded itself is missing for it, whoever else has it.
select digest, size from uploaded_blob where organization_id = :organization_id and digest = any(:digests::text[]);

-- name: record_blobs!
insert into uploaded_blob (organization_id, digest, size)
select :organization_id, given.digest, given.size
from unnest(:digests::text[], :sizes::bigint[]) as given(digest, size)
on conflict (organization_id, digest) do update set recorded_at = clock_timestamp();

-- name: record_snapshot$
-- An unchanged tree keeps its snapshot; only the latest counts, so that going back makes a new one.
with latest as (
  select id, manifest from snapshot where project_id = :project_id and is_default_source(origin)
  order by created_at desc limit 1
), made as (
  insert into snapshot (id, project_id, organization_id, manifest, file_count, total_bytes)
  select :id, :project_id, :organization_id, :manifest, :file_count, :total_bytes
  where not exists (select from latest where manifest = :manifest)
  returning id
)
select coalesce((select id from made), (select id from latest));
