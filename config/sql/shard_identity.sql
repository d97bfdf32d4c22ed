-- A shard's own knowledge of who it is. shardgate compares it with the map before it
-- uses a new connection (option server.check_identity), so that a wrong connection
-- string, a moved address or a restore in the wrong place shows tenants an error and not
-- the data of others. Run it in each database that tenants use, with the shard's number:
--
--   psql -d app -v ON_ERROR_STOP=1 -v shard_id=7 -f shard_identity.sql
--
-- Can be run again; with another number it corrects the row. Without shard_id it only
-- creates the table.

BEGIN;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS shardgate;

CREATE TABLE IF NOT EXISTS shardgate.shard_identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shard_id smallint NOT NULL CHECK (shard_id >= 0)
);

COMMENT ON SCHEMA shardgate IS 'What shardgate, the connection router, needs to know in a shard.';
COMMENT ON TABLE shardgate.shard_identity IS 'One row: the number of this shard in shard_config of the directory.';
COMMENT ON COLUMN shardgate.shard_identity.only_row IS 'Keeps the table at one row.';
COMMENT ON COLUMN shardgate.shard_identity.shard_id IS 'As shard_config.shard_id.';

-- Every user of a pool must be able to prove where it is.
GRANT USAGE ON SCHEMA shardgate TO PUBLIC;
GRANT SELECT ON shardgate.shard_identity TO PUBLIC;

\if :{?shard_id}
INSERT INTO shardgate.shard_identity (shard_id) VALUES (:shard_id)
    ON CONFLICT (only_row) DO UPDATE SET shard_id = excluded.shard_id;
\endif

COMMIT;
