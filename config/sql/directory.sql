-- The directory: which shard a tenant is on.
--
--   psql -d directory -v ON_ERROR_STOP=1 -f directory.sql
--   PGOPTIONS='-c search_path=routing' psql ...          for a schema other than public
--
-- Creates what is missing in the first schema of search_path and changes nothing that
-- is there, so it can be run again, and on a database that has just the two tables
-- shard_config and tenant_shard_map. Needs PostgreSQL 14 or later and a role that may
-- create in the schema and owns the tables. On a large tenant_shard_map the index takes
-- a while, during which rows cannot be written; to avoid that, add the column and
-- build the index by CREATE INDEX CONCURRENTLY before (names and definitions as below).
--
-- How changes are followed. One row, shard_map_revision, holds the revision of the whole
-- map. The first statement of a transaction that writes to either table raises it and so
-- locks the row until the transaction ends: revisions become visible in their order,
-- one transaction each, and a reader that has seen revision 7 has missed nothing up to 7.
-- Rows of tenant_shard_map carry the revision that wrote them, deleted ones leave their
-- number in shard_map_removed, so "what changed since 7" is two index scans. On commit,
-- NOTIFY shardgate_map carries the revision.
--
-- Consequences for writers: transactions that change the map wait for each other, so
-- keep them short; at REPEATABLE READ or SERIALIZABLE they may fail with 40001 and are then
-- to be repeated. A bulk load is one transaction and costs none of these triggers a row:
-- the revision comes in as a column default.

BEGIN;

-- Unqualified names below go to one schema, also in the functions, whatever the
-- caller's path is later.
DO $$
BEGIN
    IF current_schema() IS NULL THEN
        RAISE EXCEPTION 'no schema of search_path exists: create it first';
    END IF;
    PERFORM set_config('search_path', format('%I, pg_temp', current_schema()), true);
END
$$;
SET LOCAL client_min_messages = warning;

-- Tables -----------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS shard_config (
    shard_id          smallint PRIMARY KEY CHECK (shard_id >= 0),
    region_code       char(3) NOT NULL,
    datacenter        varchar(32) NOT NULL DEFAULT '',
    connection_string text NOT NULL,
    is_primary        boolean NOT NULL DEFAULT false,
    is_active         boolean NOT NULL DEFAULT true,
    min_tenant_id     bigint,
    max_tenant_id     bigint,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shard_config_range_check
        CHECK ((min_tenant_id IS NULL) = (max_tenant_id IS NULL) AND min_tenant_id <= max_tenant_id)
);

CREATE TABLE IF NOT EXISTS tenant_shard_map (
    tenant_id   bigint PRIMARY KEY,
    shard_id    smallint NOT NULL REFERENCES shard_config,
    region_code char(3),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS shard_map_revision (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision    bigint NOT NULL DEFAULT 1,
    deltas_from bigint NOT NULL DEFAULT 0,
    changed_by  xid8,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO shard_map_revision DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS shard_map_removed (
    tenant_id  bigint PRIMARY KEY,
    revision   bigint NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS shard_map_removed_revision ON shard_map_removed (revision);

-- A constant default first: it does not rewrite the table.
ALTER TABLE tenant_shard_map ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;
ALTER TABLE tenant_shard_map ALTER COLUMN revision
    SET DEFAULT coalesce(nullif(current_setting('shardgate.revision', true), ''), '0')::bigint;
CREATE INDEX IF NOT EXISTS tenant_shard_map_revision ON tenant_shard_map (revision);

-- Functions --------------------------------------------------------------------
-- They run as their owner: whoever may write to the two tables needs no right on the
-- tables behind them.

CREATE OR REPLACE FUNCTION shard_map_raise_revision() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    now_at bigint;
BEGIN
    -- Once a transaction, however many statements: a row that one transaction updates
    -- again and again becomes slow. Both signs must agree; each alone could be stale,
    -- the setting by hand and the number after a restore.
    SELECT revision INTO now_at FROM shard_map_revision
        WHERE changed_by = pg_current_xact_id() AND revision::text = current_setting('shardgate.revision', true);
    IF FOUND THEN
        RETURN now_at;
    END IF;
    UPDATE shard_map_revision
        SET revision = revision + 1, changed_by = pg_current_xact_id(), changed_at = clock_timestamp()
        RETURNING revision INTO now_at;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard_map_revision is empty: run directory.sql again';
    END IF;
    PERFORM set_config('shardgate.revision', now_at::text, true);
    PERFORM pg_notify('shardgate_map', now_at::text);
    RETURN now_at;
END
$$;

CREATE OR REPLACE FUNCTION shard_map_before_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM shard_map_raise_revision();
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION shard_map_before_row_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.revision := current_setting('shardgate.revision')::bigint;
    IF NEW.tenant_id <> OLD.tenant_id THEN
        INSERT INTO shard_map_removed (tenant_id, revision) VALUES (OLD.tenant_id, NEW.revision)
            ON CONFLICT (tenant_id) DO UPDATE SET revision = excluded.revision, removed_at = now();
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION shard_map_after_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO shard_map_removed (tenant_id, revision)
        SELECT tenant_id, current_setting('shardgate.revision')::bigint FROM gone
        ON CONFLICT (tenant_id) DO UPDATE SET revision = excluded.revision, removed_at = now();
    RETURN NULL;
END
$$;

-- Nothing tells which tenants there were: followers must read the whole map.
CREATE OR REPLACE FUNCTION shard_map_after_truncate() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE shard_map_revision SET deltas_from = revision;
    DELETE FROM shard_map_removed;
    RETURN NULL;
END
$$;

-- Ranges of active shards must not overlap. Looked at when the transaction ends, so that
-- shards can exchange ranges within one; and by a trigger, not an exclusion constraint,
-- since a deferred one of those would refuse INSERT ... ON CONFLICT DO NOTHING. Writers
-- wait for each other (see above), so no two transactions can overlap unseen.
CREATE OR REPLACE FUNCTION shard_config_check_range() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    other smallint;
BEGIN
    SELECT b.shard_id INTO other FROM shard_config a JOIN shard_config b
        ON b.shard_id <> a.shard_id AND b.min_tenant_id <= a.max_tenant_id AND b.max_tenant_id >= a.min_tenant_id
        WHERE a.shard_id = NEW.shard_id AND a.is_active AND b.is_active
        ORDER BY b.shard_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the ranges of the active shards % and % overlap', NEW.shard_id, other
            USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NULL;
END
$$;

-- To be called now and then where many tenants are deleted, as by a nightly job. A
-- follower that has been away for longer than `keep` reads the whole map.
CREATE OR REPLACE FUNCTION shard_map_prune(keep interval DEFAULT '7 days') RETURNS bigint
    LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
DECLARE
    up_to bigint;
    pruned bigint;
BEGIN
    -- No new revision meanwhile: the row is locked.
    PERFORM FROM shard_map_revision FOR UPDATE;
    SELECT max(revision) INTO up_to FROM shard_map_removed WHERE removed_at < now() - keep;
    IF up_to IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM shard_map_removed WHERE revision <= up_to;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    UPDATE shard_map_revision SET deltas_from = greatest(deltas_from, up_to);
    RETURN pruned;
END
$$;
REVOKE ALL ON FUNCTION shard_map_raise_revision(), shard_map_prune(interval) FROM PUBLIC;

-- Triggers ---------------------------------------------------------------------

CREATE OR REPLACE TRIGGER shard_map_before_change
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON shard_config
    FOR EACH STATEMENT EXECUTE FUNCTION shard_map_before_change();
CREATE OR REPLACE TRIGGER shard_map_before_change
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenant_shard_map
    FOR EACH STATEMENT EXECUTE FUNCTION shard_map_before_change();
CREATE OR REPLACE TRIGGER shard_map_before_row_update
    BEFORE UPDATE ON tenant_shard_map
    FOR EACH ROW EXECUTE FUNCTION shard_map_before_row_update();
CREATE OR REPLACE TRIGGER shard_map_after_delete
    AFTER DELETE ON tenant_shard_map REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION shard_map_after_delete();
CREATE OR REPLACE TRIGGER shard_map_after_truncate
    AFTER TRUNCATE ON tenant_shard_map
    FOR EACH STATEMENT EXECUTE FUNCTION shard_map_after_truncate();

DROP TRIGGER IF EXISTS shard_config_check_range ON shard_config;
CREATE CONSTRAINT TRIGGER shard_config_check_range
    AFTER INSERT OR UPDATE ON shard_config DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION shard_config_check_range();

-- Comments ---------------------------------------------------------------------

COMMENT ON TABLE shard_config IS 'Shards of the fleet: where each is and which range of tenants it holds.';
COMMENT ON COLUMN shard_config.shard_id IS 'Number of the shard, 0 to 32767; never given to another shard.';
COMMENT ON COLUMN shard_config.region_code IS 'Region in three letters, as ISO 3166 alpha-3: USA, DEU, SGP.';
COMMENT ON COLUMN shard_config.datacenter IS 'Data center, for people.';
COMMENT ON COLUMN shard_config.connection_string IS
    'libpq connection string or URI. Needs user and dbname for health probes; sessions may override both.';
COMMENT ON COLUMN shard_config.is_primary IS 'Serves statements without a tenant, where the configuration allows any.';
COMMENT ON COLUMN shard_config.is_active IS 'False: the shard stays in the map, its tenants are refused with SG006.';
COMMENT ON COLUMN shard_config.min_tenant_id IS
    'First tenant of the range, inclusive; NULL: none. Ranges of active shards must not overlap.';
COMMENT ON COLUMN shard_config.max_tenant_id IS 'Last tenant of the range, inclusive; NULL exactly where min_tenant_id is.';
COMMENT ON COLUMN shard_config.created_at IS 'When the row was added.';

COMMENT ON TABLE tenant_shard_map IS 'Tenants that are not where the ranges of shard_config put them. A row here wins.';
COMMENT ON COLUMN tenant_shard_map.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tenant_shard_map.shard_id IS 'The shard it is on.';
COMMENT ON COLUMN tenant_shard_map.region_code IS 'Region the tenant belongs to; NULL: that of its shard.';
COMMENT ON COLUMN tenant_shard_map.created_at IS 'When the row was added.';
COMMENT ON COLUMN tenant_shard_map.revision IS
    'Revision that wrote the row; 0: before revisions were kept. Set by default and trigger; leave it out of INSERTs.';
COMMENT ON INDEX tenant_shard_map_revision IS 'Finds the rows that changed since a revision.';

COMMENT ON TABLE shard_map_revision IS 'One row: the revision of the whole map. Locked by whoever changes the map.';
COMMENT ON COLUMN shard_map_revision.only_row IS 'Keeps the table at one row.';
COMMENT ON COLUMN shard_map_revision.revision IS 'Grows by one with each transaction that changes the map.';
COMMENT ON COLUMN shard_map_revision.deltas_from IS
    'Changes since this revision or a later one can be read as a delta; a follower that is older reads all.';
COMMENT ON COLUMN shard_map_revision.changed_by IS 'Transaction that raised the revision last.';
COMMENT ON COLUMN shard_map_revision.changed_at IS 'When it did.';

COMMENT ON TABLE shard_map_removed IS 'Tenants deleted from tenant_shard_map, for followers that read deltas.';
COMMENT ON COLUMN shard_map_removed.tenant_id IS 'The tenant; it may be back in tenant_shard_map, which then counts.';
COMMENT ON COLUMN shard_map_removed.revision IS 'Revision of its last deletion.';
COMMENT ON COLUMN shard_map_removed.removed_at IS 'When; for shard_map_prune.';
COMMENT ON INDEX shard_map_removed_revision IS 'Finds what was deleted since a revision.';

COMMENT ON FUNCTION shard_map_raise_revision() IS
    'Raises the revision once a transaction, notifies shardgate_map on commit, returns the revision.';
COMMENT ON FUNCTION shard_map_before_change() IS 'Trigger: raises the revision before a statement that changes the map.';
COMMENT ON FUNCTION shard_map_before_row_update() IS 'Trigger: stamps an updated row; notes the old number of a renumbered tenant.';
COMMENT ON FUNCTION shard_map_after_delete() IS 'Trigger: notes deleted tenants.';
COMMENT ON FUNCTION shard_map_after_truncate() IS 'Trigger: makes followers read the whole map.';
COMMENT ON FUNCTION shard_config_check_range() IS 'Trigger: refuses overlapping ranges of active shards.';
COMMENT ON FUNCTION shard_map_prune(interval) IS
    'Forgets tenants deleted longer ago than the interval; returns how many. For a nightly job of the owner.';
COMMENT ON TRIGGER shard_map_before_change ON shard_config IS 'Raises the revision.';
COMMENT ON TRIGGER shard_config_check_range ON shard_config IS 'Refuses overlapping ranges of active shards.';
COMMENT ON TRIGGER shard_map_before_change ON tenant_shard_map IS 'Raises the revision.';
COMMENT ON TRIGGER shard_map_before_row_update ON tenant_shard_map IS 'Stamps updated rows.';
COMMENT ON TRIGGER shard_map_after_delete ON tenant_shard_map IS 'Notes deleted tenants.';
COMMENT ON TRIGGER shard_map_after_truncate ON tenant_shard_map IS 'Makes followers read the whole map.';

COMMIT;

-- A role for shardgate, which only reads:
--
--   CREATE ROLE shardgate LOGIN PASSWORD '...' CONNECTION LIMIT 20;
--   GRANT CONNECT ON DATABASE directory TO shardgate;
--   GRANT USAGE ON SCHEMA public TO shardgate;
--   GRANT SELECT ON shard_config, tenant_shard_map, shard_map_revision, shard_map_removed TO shardgate;
--   ALTER ROLE shardgate SET default_transaction_read_only = on;
--
-- LISTEN needs no right. Each instance holds one connection, and a second one once
-- it has asked for a tenant that its map did not hold.
