CREATE TABLE state (namespace TEXT PRIMARY KEY, document BLOB NOT NULL);
CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT, line BLOB);
CREATE INDEX audit_of ON audit (namespace, number);
CREATE TABLE processes (
    namespace TEXT, id TEXT, heard REAL, report BLOB,
    PRIMARY KEY (namespace, id)
);
CREATE TABLE claims (
    namespace TEXT, rollout TEXT, key TEXT, text BLOB, expires INTEGER,
    PRIMARY KEY (namespace, rollout, key)
);
CREATE INDEX claims_expire ON claims (expires);
CREATE TABLE forgotten (number INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT, push BLOB);
CREATE TABLE lease (namespace TEXT PRIMARY KEY, owner TEXT, taken REAL, expires REAL);
CREATE TABLE totals (
    namespace TEXT, rollout TEXT, release TEXT, boot TEXT, data BLOB, written REAL,
    PRIMARY KEY (namespace, rollout, release, boot)
);
CREATE TABLE folded (
    namespace TEXT, rollout TEXT, release TEXT, boot TEXT, at REAL,
    PRIMARY KEY (namespace, rollout, release, boot)
);
