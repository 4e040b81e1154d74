CREATE TABLE IF NOT EXISTS series (
    namespace TEXT, rollout TEXT, slot INTEGER, data BLOB,
    PRIMARY KEY (namespace, rollout, slot)
);
CREATE TABLE IF NOT EXISTS series_written (
    namespace TEXT, rollout TEXT, at REAL,
    PRIMARY KEY (namespace, rollout)
);
CREATE TABLE IF NOT EXISTS outbox (
    namespace TEXT, hook TEXT, cursor BLOB, at REAL,
    PRIMARY KEY (namespace, hook)
);
CREATE TABLE IF NOT EXISTS leases (
    namespace TEXT, name TEXT, owner TEXT, taken REAL, expires REAL,
    PRIMARY KEY (namespace, name)
);
