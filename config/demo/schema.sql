-- What every shard of the demo holds: the tenants' orders, and the shard's own
-- name, so that an answer shows where it comes from.
-- Variables: name (of the shard), region, first and last tenant of its range.
create table orders (
    tenant_id bigint not null,
    id        bigint not null,
    item      text not null,
    price     numeric(10, 2) not null,
    primary key (tenant_id, id)
);
create table this_shard (name text not null, region char(3) not null);
insert into this_shard values (:'name', :'region');

insert into orders
select tenant, number, (array['tea', 'lamp', 'chair', 'map', 'violin'])[1 + (tenant + number) % 5],
       5 + (tenant * 7 + number * 13) % 90 + 0.5
  from generate_series(:first::bigint, :last::bigint) as tenant, generate_series(1, 3) as number;

grant select, insert, update, delete on orders to app;
grant select on this_shard to app;
