-- name: claim$
select claim_domain(:hostname, :project_id, :organization_id, :token, :most);

-- name: find^
select * from shown_domain where hostname = :hostname and project_id = :project_id;

-- name: of_project
select * from shown_domain where project_id = :project_id order by created_at, hostname;

-- name: take_due
-- Whoever takes one has it for a while; it is due again if nothing is written until then.
with due as (
  select hostname, project_id from domain
  where next_try_at <= clock_timestamp() order by next_try_at limit :limit
  for update skip locked
), taken as (
  update domain d set next_try_at = clock_timestamp() + make_interval(secs => :lease_seconds)
  from due where d.hostname = due.hostname and d.project_id = due.project_id
  returning d.hostname, d.project_id
)
select s.* from taken t join shown_domain s on s.hostname = t.hostname and s.project_id = t.project_id;

-- name: settle$
select settle_domain(:hostname, :project_id, :tries_before, :state, :fault, :tries, :seconds);

-- name: ask_again$
select ask_domain_again(:hostname, :project_id);

-- name: remove$
select remove_domain(:hostname, :project_id);

-- name: take_unwanted
-- What Cloudflare was asked for and is not to serve. Leased, as `take_due`.
with served as materialized (
  select hostname from hostname_on_cloudflare
), unwanted as (
  select h.hostname from custom_hostname h
  where h.leased_until <= clock_timestamp() and not exists (select from served s where s.hostname = h.hostname)
  order by h.leased_until limit :limit
  for update of h skip locked
)
update custom_hostname h set leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
from unwanted u where h.hostname = u.hostname
returning h.hostname;

-- name: hasten!
-- Domains that Cloudflare is to serve and was not asked for, since their project moved there, are due now.
update domain d set next_try_at = clock_timestamp()
from hostname_on_cloudflare c
where d.hostname = c.hostname and d.project_id = c.project_id
  and d.next_try_at > clock_timestamp() + make_interval(secs => :lease_seconds)
  and not exists (select from custom_hostname h where h.hostname = d.hostname);
