#!/usr/bin/env python3
"""Prints cron_table.h: when each expression fires in each zone, found by going through time minute by minute with Python's zoneinfo.

Only years that are past, which no new time zone data changes. A row holds how often it fires, a hash of all its times, and the last.
"""
import datetime
import zoneinfo

ZONES = [  # (name, first day, days)
    ("UTC", "2019-06-10", 800),
    ("Europe/Madrid", "2018-01-10", 400),
    ("America/New_York", "2007-01-10", 400),
    ("Europe/Dublin", "2016-01-10", 400),
    ("Australia/Lord_Howe", "2015-01-10", 400),  # half an hour
    ("America/Sao_Paulo", "2015-01-10", 400),  # at midnight
    ("America/St_Johns", "2005-01-10", 400),  # a minute after midnight
    ("Africa/Casablanca", "2019-01-10", 400),  # around Ramadan
    ("Antarctica/Troll", "2015-01-10", 400),  # two hours
    ("Asia/Kathmandu", "2010-01-10", 400),
    ("America/Caracas", "2007-06-10", 300),  # half an hour back, once
    ("Pacific/Apia", "2011-06-10", 400),  # 30 December 2011 never was
    ("Pacific/Kwajalein", "1993-06-10", 120),  # nor was 21 August 1993
]
EXPRS = [
    "0 3 * * *", "30 2 * * *", "15 0 * * *", "*/20 1-3 * * *", "0 * * * *", "*/15 * * * *", "30 */2 * * *", "5,35 * 20-31 * *",
    "0 0 * * sun", "0 12 13 * 5", "0 9-17/4 * * mon-fri", "0 0 31 * *", "59 23 28-31 1,3,8,10,12 *", "0 2 29 2 *",
    "10 1 */3 * 1", "45 1,2 * mar,oct,nov *", "0 0 30,21 12,8 *",
]
NAMES = {n: i for i, n in enumerate("sun mon tue wed thu fri sat".split())}
NAMES.update({n: i + 1 for i, n in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())})


def value(text):
    return NAMES[text] if text in NAMES else int(text)


def field(text, low, high):
    found = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = ("%d-%d" % (low, high) if span == "*" else span).partition("-")
        found |= set(range(value(first), value(last or first) + 1, int(step or 1)))
    return found


def fits(expr):
    texts = expr.split()
    minutes, hours, days, months, weekdays = [field(t, *r) for t, r in zip(texts, [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)])]
    both = texts[2][0] == "*" or texts[4][0] == "*"

    def test(local):  # naive
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        one, other = local.day in days, local.isoweekday() % 7 in weekdays
        return (one and other) if both else (one or other)
    return test, texts[1][0] == "*"


def times(expr, clock):
    """clock: (moment, what the clock shows) of each minute."""
    test, elapsed = fits(expr)
    shown = clock[0][1]  # the latest that the clock has shown
    for moment, local in clock[1:]:
        if elapsed:
            if test(local):
                yield moment
            continue
        fires = False
        while shown < local:
            shown += datetime.timedelta(minutes=1)
            fires |= test(shown)
        if fires:
            yield moment


def main():
    print("// Made by cron_table.py.")
    print("static const char *const table_exprs[] = {%s};" % ", ".join('"%s"' % e for e in EXPRS))
    print("static const char *const table_zones[] = {%s};" % ", ".join('"%s"' % z[0] for z in ZONES))
    print("static const struct row {\n    int zone, expr, n;\n    int64_t from_s, end_s, last_s;\n    uint64_t hash;\n} table_rows[] = {")
    for z, (name, first, days) in enumerate(ZONES):
        zone = zoneinfo.ZoneInfo(name)
        start = int(datetime.datetime.fromisoformat(first + "T12:00:00+00:00").timestamp())
        clock = [(t, datetime.datetime.fromtimestamp(t, zone).replace(tzinfo=None, fold=0))
                 for t in range(start, start + days * 86400 + 60, 60)]
        for e, expr in enumerate(EXPRS):
            n, digest, last = 0, 0, 0
            for last in times(expr, clock):
                n += 1
                digest = (digest * 1000003 + last) % 2 ** 64
            print("    {%d, %d, %d, %d, %d, %d, UINT64_C(%d)}," % (z, e, n, start, start + days * 86400, last, digest))
    print("};")


if __name__ == "__main__":
    main()
