-- name: create$
insert into api_key (id, name, hash, prefix, scopes, organization_id, user_id, expires_at, created_by)
values (:id, :name, :hash, :prefix, :scopes, :organization_id, :user_id, to_timestamp(:expires_at::float8), :created_by)
returning id;

-- name: find^
-- The token before the last rotation ends with its own time, and with the key's if that comes first.
select id, name, scopes, organization_id, user_id, extract(epoch from expires_at)::float8 as expires_at
from api_key
where hash = :hash and revoked_at is null and (expires_at is null or expires_at > now())
union all
select id, name, scopes, organization_id, user_id,
  extract(epoch from least(expires_at, previous_until))::float8 as expires_at
from api_key
where previous_hash = :hash and revoked_at is null and least(expires_at, previous_until) > now();

-- name: get^
select id, name, prefix, scopes, organization_id, user_id, created_by,
  extract(epoch from created_at)::float8 as created_at, extract(epoch from expires_at)::float8 as expires_at,
  extract(epoch from revoked_at)::float8 as revoked_at, extract(epoch from last_used_at)::float8 as last_used_at,
  extract(epoch from previous_until)::float8 as previous_until
from api_key where id = :id;

-- name: page
select id, name, prefix, scopes, organization_id, user_id, created_by,
  extract(epoch from created_at)::float8 as created_at, extract(epoch from expires_at)::float8 as expires_at,
  extract(epoch from revoked_at)::float8 as revoked_at, extract(epoch from last_used_at)::float8 as last_used_at,
  extract(epoch from previous_until)::float8 as previous_until
from api_key k
where (:organization_id::text is null or organization_id = :organization_id)
  and (:revoked or revoked_at is null)
  and (:after::text is null or (k.created_at, k.id) < (
    select c.created_at, c.id from api_key c
    where c.id = :after and (:organization_id::text is null or c.organization_id = :organization_id)))
order by k.created_at desc, k.id desc
limit :limit;

-- name: revoke!
update api_key set revoked_at = clock_timestamp() where id = :id and revoked_at is null;

-- name: rotate$
update api_key set hash = :hash, prefix = :prefix,
  previous_hash = case when :overlap_seconds > 0 then hash end,
  previous_until = case when :overlap_seconds > 0 then now() + make_interval(secs => :overlap_seconds) end
where id = :id and revoked_at is null and (expires_at is null or expires_at > now())
returning id;

-- name: record_use!
update api_key k set last_used_at = greatest(k.last_used_at, to_timestamp(used.at))
from unnest(:ids::text[], :times::float8[]) as used(id, at)
where k.id = used.id;

-- name: operated$
-- Whether a key is in force that may do everything.
select exists (
  select 1 from api_key
  where organization_id is null and 'admin' = any(scopes) and revoked_at is null
    and (expires_at is null or expires_at > now())
);
