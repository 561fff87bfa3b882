"""sqlite.py load FILE JOURNAL ROWS | writers FILE JOURNAL WRITERS TRANSACTIONS | commit FILE JOURNAL | verify FILE NUMBER"""

import hashlib
import multiprocessing
import random
import sqlite3
import sys


def connect(path, journal=None):
    base = sqlite3.connect(path, timeout=120, isolation_level=None)
    if journal:
        assert base.execute(f"PRAGMA journal_mode={journal}").fetchone()[0] == journal.lower()
        base.execute("PRAGMA synchronous=FULL")
    return base


def whole(base):
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def load(path, journal, rows):
    """In the manner of SQLite's speedtest1; prints a sum of all that the tables hold."""
    rows = int(rows)
    chance = random.Random(1)
    base = connect(path, journal)
    base.execute("PRAGMA cache_size=-512")  # so that pages are spilled and read again
    text = lambda: "".join(chance.choice("abcdefghij ") for _ in range(chance.randrange(10, 300)))
    base.execute("CREATE TABLE a(id INTEGER PRIMARY KEY, number INTEGER, words TEXT)")
    base.execute("CREATE TABLE b(key TEXT PRIMARY KEY, number INTEGER, bytes BLOB) WITHOUT ROWID")
    for number in range(50):
        base.execute("INSERT INTO a VALUES(?, ?, ?)", (number, chance.randrange(1000), text()))
    base.execute("BEGIN")
    for number in range(50, rows):
        base.execute("INSERT INTO a VALUES(?, ?, ?)", (number, chance.randrange(1000), text()))
        base.execute("INSERT OR REPLACE INTO b VALUES(?, ?, ?)", (text()[:12], number, chance.randbytes(100)))
    base.execute("COMMIT")
    base.execute("CREATE INDEX by_number ON a(number)")
    base.execute("CREATE INDEX by_words ON a(words)")
    for _ in range(20):
        base.execute("BEGIN")
        low = chance.randrange(900)
        base.execute("UPDATE a SET number = number + 1, words = words || 'x' WHERE number BETWEEN ? AND ?", (low, low + 9))
        base.execute("DELETE FROM b WHERE number % 97 = ?", (chance.randrange(97),))
        base.execute("ROLLBACK" if chance.random() < 0.3 else "COMMIT")
    joined = base.execute("SELECT count(*), sum(a.id) FROM a JOIN b ON a.number = b.number % 1000").fetchone()
    base.execute("ALTER TABLE a ADD COLUMN more DEFAULT 7")
    base.execute("VACUUM")
    base.execute("INSERT INTO a SELECT id + 1000000, number, words, more FROM a WHERE number < 100")
    whole(base)
    base.close()
    base = connect(path)
    whole(base)
    total = hashlib.sha256(repr(joined).encode())
    for line in base.iterdump():
        total.update(line.encode())
    print(total.hexdigest())


def write(path, who, transactions):
    base = connect(path)
    base.execute("PRAGMA synchronous=FULL")
    for number in range(transactions):
        base.execute("BEGIN IMMEDIATE")
        total = base.execute("SELECT total FROM s").fetchone()[0]
        base.execute("INSERT INTO t VALUES(?, ?)", (who, number))
        base.execute("UPDATE s SET total = ?", (total + number,))
        base.execute("COMMIT")


def writers(path, journal, count, transactions):
    count, transactions = int(count), int(transactions)
    base = connect(path, journal)
    base.execute("CREATE TABLE t(who, number)")
    base.execute("CREATE TABLE s(total)")
    base.execute("INSERT INTO s VALUES(0)")
    base.close()
    processes = [multiprocessing.Process(target=write, args=(path, who, transactions)) for who in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    base = connect(path)
    whole(base)
    assert base.execute("SELECT count(*), sum(number) FROM t").fetchone() == (
        count * transactions, count * sum(range(transactions)))
    assert base.execute("SELECT total FROM s").fetchone()[0] == count * sum(range(transactions))


def commit(path, journal):
    """Transactions without end; prints the number of each that was committed."""
    base = connect(path, journal)
    base.execute("CREATE TABLE t(number INTEGER PRIMARY KEY, bytes BLOB)")
    base.execute("CREATE TABLE s(total INTEGER)")
    base.execute("INSERT INTO s VALUES(0)")
    number = 0
    while True:
        number += 1
        base.execute("BEGIN")
        base.execute("INSERT INTO t VALUES(?, randomblob(3000))", (number,))
        base.execute("UPDATE s SET total = total + ?", (number,))
        base.execute("COMMIT")
        print(number, flush=True)


def verify(path, number):
    base = connect(path)
    whole(base)
    count, total = base.execute("SELECT count(*), sum(number) FROM t").fetchone()
    # One more may have been committed and not been told of.
    assert count in (int(number), int(number) + 1), f"{count} instead of {number}"
    assert base.execute("SELECT total FROM s").fetchone()[0] == total == sum(range(count + 1))


{"load": load, "writers": writers, "commit": commit, "verify": verify}[sys.argv[1]](*sys.argv[2:])
