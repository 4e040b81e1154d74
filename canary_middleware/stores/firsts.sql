CREATE TABLE IF NOT EXISTS first_kinds (
    number INTEGER PRIMARY KEY, namespace TEXT, rollout TEXT, release TEXT, run INTEGER,
    kind TEXT NOT NULL, visitors_below INTEGER NOT NULL, written REAL,
    UNIQUE (namespace, rollout, release, run, kind)
);
CREATE TABLE IF NOT EXISTS first_visitors (
    number INTEGER, visitor INTEGER,
    PRIMARY KEY (number, visitor)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entered (
    number INTEGER PRIMARY KEY, namespace TEXT, rollout TEXT, release TEXT, run INTEGER,
    period INTEGER, visitor INTEGER, batch TEXT, at REAL,
    UNIQUE (namespace, rollout, release, run, period, visitor)
);
CREATE TABLE IF NOT EXISTS first_counts (
    number INTEGER, period INTEGER, cohort TEXT, count INTEGER,
    PRIMARY KEY (number, period, cohort)
) WITHOUT ROWID;
