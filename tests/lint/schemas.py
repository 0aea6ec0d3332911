#!/usr/bin/env python3
"""Refuses an incompatible change of schemas/, and what has no comment there.

schemas.txt beside this file is what was there before, a line for each message, enum, field and value. What stands in it must go on
to mean the same on the wire and in JSON: no number is used again, no name or type changes, and what is taken away is reserved, by
number and by name. Additions are free; --update writes them to schemas.txt, so that they are kept from then on.

  schemas.py               checks schemas/
  schemas.py --update      writes schemas.txt; refuses where the check does
  schemas.py --self-test   changes a copy of schemas/ in every forbidden way, and sees that each is refused
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASELINE = os.path.join(ROOT, "tests/lint/schemas.txt")
TYPES = dict(enumerate("- double float int64 uint64 int32 fixed64 fixed32 bool string group message bytes uint32 enum "
                       "sfixed32 sfixed64 sint32 sint64".split()))


# --- protoc's descriptors, read with the standard library alone -----------------------------------------------------------
def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """A message as {number: [values]}; a value is an int or bytes."""
    at, found = 0, {}
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(data[at:at + size], "little"), at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def text(message, number):
    return message.get(number, [b""])[0].decode()


def number_of(message, number):
    value = message.get(number, [0])[0]
    return value - (1 << 64) if value >= 1 << 63 else value


class Schema:
    """Everything of a schemas folder: members by (message or enum, number), and what is reserved or has no comment."""

    def __init__(self, folder):
        self.files = {}  # message or enum: its file
        self.members = {}  # (owner, number): (name, what it is)
        self.kinds = {}  # owner: "message" or "enum"
        self.reserved_ranges = {}
        self.reserved_names = {}
        self.bare = []
        names = sorted(os.path.relpath(os.path.join(at, f), folder) for at, _, fs in os.walk(folder) for f in fs
                       if f.endswith(".proto"))
        with tempfile.TemporaryDirectory() as out:
            path = os.path.join(out, "set")
            ran = subprocess.run(["protoc", "-I", folder, "--include_source_info", "--descriptor_set_out=" + path] + names,
                                 stderr=subprocess.PIPE, universal_newlines=True)
            if ran.returncode:
                sys.exit("schemas: protoc refuses:\n" + ran.stderr)
            with open(path, "rb") as f:
                data = f.read()
        for one in fields(data)[1]:
            self.add_file(fields(one))

    def add_file(self, file):
        self.file = text(file, 1)
        self.package = text(file, 2)
        self.commented = set()
        for location in fields(file.get(9, [b""])[0]).get(1, []):
            location = fields(location)
            if 3 in location or 4 in location:
                path, at, steps = location.get(1, [b""])[0], 0, []
                while at < len(path):
                    step, at = varint(path, at)
                    steps.append(step)
                self.commented.add(tuple(steps))
        for i, message in enumerate(file.get(4, [])):
            self.add_message(fields(message), self.package, (4, i))
        for i, enum in enumerate(file.get(5, [])):
            self.add_enum(fields(enum), self.package, (5, i))

    def wants_comment(self, what, path):
        if path not in self.commented:
            self.bare.append("schemas/%s: %s has no comment" % (self.file, what))

    def add_message(self, message, scope, path):
        owner = scope + "." + text(message, 1)
        self.files[owner], self.kinds[owner] = self.file, "message"
        self.wants_comment(owner, path)
        for i, field in enumerate(message.get(2, [])):
            field = fields(field)
            kind = text(field, 6).lstrip(".") or TYPES[number_of(field, 5)]
            if number_of(field, 4) == 3:
                kind = "repeated " + kind
            if 17 in field:
                kind = "optional " + kind
            elif 9 in field:
                kind = "oneof %s %s" % (text(fields(message[8][number_of(field, 9)]), 1), kind)
            self.members[owner, number_of(field, 3)] = (text(field, 1), kind)
            self.wants_comment("%s.%s" % (owner, text(field, 1)), path + (2, i))
        self.reserved_ranges[owner] = [(number_of(r, 1), number_of(r, 2) - 1) for r in map(fields, message.get(9, []))]
        self.reserved_names[owner] = {n.decode() for n in message.get(10, [])}
        for i, nested in enumerate(message.get(3, [])):
            self.add_message(fields(nested), owner, path + (3, i))
        for i, enum in enumerate(message.get(4, [])):
            self.add_enum(fields(enum), owner, path + (4, i))

    def add_enum(self, enum, scope, path):
        owner = scope + "." + text(enum, 1)
        self.files[owner], self.kinds[owner] = self.file, "enum"
        self.wants_comment(owner, path)
        for i, value in enumerate(enum.get(2, [])):
            value = fields(value)
            name = text(value, 1)
            self.members[owner, number_of(value, 2)] = (name, "value")
            # That 0 says nothing is the convention of every enum, and needs no comment.
            if not name.endswith("_UNSPECIFIED"):
                self.wants_comment("%s.%s" % (owner, name), path + (2, i))
        self.reserved_ranges[owner] = [(number_of(r, 1), number_of(r, 2)) for r in map(fields, enum.get(4, []))]
        self.reserved_names[owner] = {n.decode() for n in enum.get(5, [])}

    def lines(self):
        for owner in self.files:
            yield "%s %s in %s" % (self.kinds[owner], owner, self.files[owner])
            for number, (name, kind) in sorted((n, m) for (o, n), m in self.members.items() if o == owner):
                yield "  %d %s %s" % (number, name, kind)
            for low, high in self.reserved_ranges[owner]:
                yield "  reserved %d %d" % (low, high)
            for name in sorted(self.reserved_names[owner]):
                yield "  reserved %s" % name


# --- the comparison -------------------------------------------------------------------------------------------------------
def member_problem(new, owner, number, name, kind):
    """What is wrong with a member of the baseline in the new schema, and what to do; None: nothing."""
    reserve = 'write "reserved %d;" and "reserved \\"%s\\";"' % (number, name)
    now = new.members.get((owner, number))
    if now is None:
        elsewhere = [n for (o, n), m in new.members.items() if o == owner and m[0] == name]
        if elsewhere:
            return "has moved from number %d to %d: give it its number back" % (number, elsewhere[0])
        if not any(low <= number <= high for low, high in new.reserved_ranges[owner]) or \
                name not in new.reserved_names[owner]:
            return "is gone, and its number %d and name are not reserved: %s" % (number, reserve)
        return None
    if now[0] != name and (now[1] == kind or kind == "value"):
        return "is now called %s under the same number %d: keep the name, or add a new number and %s" % (now[0], number, reserve)
    if now[0] != name:
        return "is gone and its number %d is used again by %s: give that one a new number, and %s" % (number, now[0], reserve)
    if now[1] != kind:
        return "was %s and is now %s: add a new field with a new number, and keep this one" % (kind, now[1])
    return None


def problems(baseline, new):
    owner = file = None
    for line in baseline:
        words = line.split()
        if not words or words[0] == "#":
            continue
        if not line.startswith(" "):
            kind, owner, _, file = words
            if owner not in new.files or new.kinds[owner] != kind:
                yield "schemas/%s: %s %s is gone: put it back; what nobody uses any more may stay" % (file, kind, owner)
                owner = None
            continue
        if owner is None:
            continue
        where = "schemas/%s: %s" % (new.files[owner], owner)
        if words[0] == "reserved" and len(words) == 3:
            for low in range(int(words[1]), int(words[2]) + 1):
                if (owner, low) in new.members:
                    yield "%s.%s takes the reserved number %d: take a new one" % (where, new.members[owner, low][0], low)
                elif not any(a <= low <= b for a, b in new.reserved_ranges[owner]):
                    yield "%s no longer reserves %d: put the line back" % (where, low)
        elif words[0] == "reserved":
            if words[1] not in new.reserved_names[owner]:
                yield '%s no longer reserves "%s": put the line back' % (where, words[1])
        else:
            wrong = member_problem(new, owner, int(words[0]), words[1], " ".join(words[2:]))
            if wrong:
                yield "%s.%s %s" % (where, words[1], wrong)


# --- the self-test: (what to change, in which file, pattern, replacement, words of the refusal; none: it is allowed) ------------
MUTATIONS = [
    ("a field removed", "run.proto", r"\n  string etag = 12;", "\n", ["run.proto", "Run.etag", "gone", "reserved 12"]),
    ("a field removed, number reserved alone", "run.proto", r"\n  string etag = 12;", "\n  reserved 12;", ["Run.etag", "name"]),
    ("a field removed and reserved", "run.proto", r"\n  string etag = 12;", '\n  reserved 12;\n  reserved "etag";', []),
    ("a field renamed", "run.proto", r"string etag = 12;", "string tag = 12;", ["Run.etag", "called tag"]),
    ("a field's type changed", "run.proto", r"uint32 jobs_total = 8;", "int64 jobs_total = 8;", ["Run.jobs_total", "int64"]),
    ("a field made a list", "run.proto", r"string etag = 12;", "repeated string etag = 12;", ["Run.etag", "repeated string"]),
    ("a field made optional", "run.proto", r"string etag = 12;", "optional string etag = 12;", ["Run.etag", "optional string"]),
    ("a field put into a oneof", "run.proto", r"string etag = 12;", "oneof x { string etag = 12; }", ["Run.etag", "oneof x"]),
    ("a number moved", "run.proto", r"string etag = 12;", "string etag = 99;", ["Run.etag", "from number 12 to 99"]),
    ("a number used again", "run.proto", r"string etag = 12;", "int64 weight_milli = 12;", ["Run.etag", "weight_milli"]),
    ("a message renamed", "quota.proto", r"GetGrantsReply", "GotGrantsReply", ["quota.proto", "GetGrantsReply", "gone"]),
    ("an enum value renamed", "run.proto", r"CAUSE_SIGNAL = 2", "CAUSE_KILLED = 2", ["Cause.CAUSE_SIGNAL", "CAUSE_KILLED"]),
    ("an enum value removed", "run.proto", r"  CAUSE_SIGNAL = 2;", "", ["Cause.CAUSE_SIGNAL", "gone"]),
    ("a nested enum's value moved", "shim.proto", r"KIND_FLOOR = 4;", "KIND_FLOOR = 9;", ["JournalRecord.Kind", "4 to 9"]),
    ("another package", "quota.proto", r"package hodei.v1;", "package hodei.v2;", ["hodei.v1.Grant", "gone"]),
    ("a field added", "run.proto", r"string etag = 12;", "int64 weight = 113;  // of it\n  string etag = 12;", []),
    ("a message and a value added", "run.proto", r"CAUSE_SIGNAL = 2;", "CAUSE_MOON = 77;  // of it\n  CAUSE_SIGNAL = 2;", []),
    ("a field without a comment", "run.proto", r"string etag = 12;", "int64 weight = 113;\n  string etag = 12;",
     ["Run.weight", "comment"]),
]


def check(folder, baseline):
    new = Schema(folder)
    return list(problems(baseline, new)) + new.bare


def self_test(baseline):
    failed = 0
    for what, name, pattern, replacement, words in MUTATIONS:
        with tempfile.TemporaryDirectory() as at:
            folder = os.path.join(at, "schemas")
            shutil.copytree(os.path.join(ROOT, "schemas"), folder)
            path = os.path.join(folder, "hodei/v1", name)
            with open(path) as f:
                old = f.read()
            new, n = re.subn(pattern, lambda _: replacement, old)
            with open(path, "w") as f:
                f.write(new)
            found = check(folder, baseline) if n else ["the pattern %s is not in %s" % (pattern, name)]
        if not words and found:
            wrong = "is refused and should not be: " + found[0]
        elif words and not any(all(w in one for w in words) for one in found):
            wrong = "should be refused, naming %s; found: %s" % (", ".join(words), found or "nothing")
        else:
            continue
        failed += 1
        print("FAIL %s %s" % (what, wrong))
    return len(MUTATIONS) - failed, failed


def main():
    with open(BASELINE) as f:
        baseline = f.read().splitlines()
    if sys.argv[1:] == ["--self-test"]:
        passed, failed = self_test(baseline)
    else:
        found = check(os.path.join(ROOT, "schemas"), baseline)
        print("\n".join(found), end="\n" if found else "")
        passed, failed = (0, len(found)) if found else (1, 0)
        if sys.argv[1:] == ["--update"] and not found:
            head = [line for line in baseline if line.startswith("#")]
            with open(BASELINE, "w") as f:
                f.write("\n".join(head + list(Schema(os.path.join(ROOT, "schemas")).lines())) + "\n")
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
