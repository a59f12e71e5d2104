-- Rows as queries read them; made last, since they may use any function.

drop view if exists shown_domain;
create view shown_domain as
  select d.hostname, d.project_id, d.state, d.token, d.fault, d.tries,
    extract(epoch from clock_timestamp() - d.asked_at)::float8 as asked_seconds,
    extract(epoch from clock_timestamp() - d.checked_at)::float8 as checked_seconds,
    extract(epoch from d.next_try_at)::float8 as next_try_at,
    extract(epoch from d.created_at)::float8 as created_at,
    extract(epoch from d.verified_at)::float8 as verified_at,
    coalesce(s.name, site_name(d.project_id)) as site, serving_target(d.project_id) as target,
    case when h.hostname is not null then jsonb_build_object('state', h.state, 'records', h.records) end as cloudflare
  from domain d
  left join site s on s.project_id = d.project_id
  left join custom_hostname h on h.hostname = d.hostname
    and d.state in ('verified', 'active') and serving_target(d.project_id) = 'cloudflare';
