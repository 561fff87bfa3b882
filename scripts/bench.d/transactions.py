"""transactions.py DATABASE COUNT: durable transactions of SQLite in WAL mode, of one row each."""

import json
import sqlite3
import sys
import time

database = sqlite3.connect(sys.argv[1], isolation_level=None)
mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
if mode != "wal":
    sys.exit(f"the journal's mode is {mode}")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE keys(name TEXT PRIMARY KEY, value BLOB)")
latencies = []
began = time.perf_counter()
for number in range(int(sys.argv[2])):
    one = time.perf_counter()
    database.execute("INSERT INTO keys VALUES(?, ?)", (f"user-{number}", bytes(100)))
    latencies.append(time.perf_counter() - one)
seconds = time.perf_counter() - began
database.close()
latencies.sort()
print(
    json.dumps(
        {
            "per_second": len(latencies) / seconds,
            "p50_us": latencies[len(latencies) // 2] * 1e6,
            "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
        }
    )
)
