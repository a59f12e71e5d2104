-- name: record!
insert into audit (id, at, organization_id, actor, user_id, action, subjects, status, request_id)
select e.id, to_timestamp(e.at), e.organization_id, e.actor, e.user_id, e.action, e.subjects, e.status, e.request_id
from jsonb_to_recordset(:entries::jsonb) as e(id text, at float8, organization_id text, actor text, user_id text,
  action text, subjects jsonb, status integer, request_id text)
on conflict (id) do nothing;

-- name: page
select id, extract(epoch from at)::float8 as at, organization_id, actor, user_id, action, subjects, status, request_id
from audit
where (:organization_id::text is null or organization_id = :organization_id)
  and (:actor::text is null or actor = :actor)
  and (:action::text is null or starts_with(action, :action))
  and (:before::text is null or id < :before)
order by id desc
limit :limit;

-- name: remove_old$
-- At most so many at once. Ids ascend with time, so the oldest are the first ones.
with oldest as (
  select id, at from audit order by id limit :limit
), removed as (
  delete from audit where id in (select id from oldest where at < now() - make_interval(secs => :kept_seconds))
  returning id
)
select count(*) from removed;
