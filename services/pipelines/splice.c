#include "services/pipelines/splice.h"

#include <string.h>

#define NESTING_MAX 64
#define DELIMITER_MAX 128

enum where { UNQUOTED, DOUBLE, SINGLE, COMMENT, ARITHMETIC, HERE, HERE_QUOTED };

struct scan {
    enum where stack[NESTING_MAX];
    char closes[NESTING_MAX]; // what ends an UNQUOTED one: ')' or '`', '\0' at the top
    size_t depth;
    bool word_start;
    char delimiter[DELIMITER_MAX]; // of a here-document that begins with the next line
    bool pending, quoted, tabs;
    char line[DELIMITER_MAX]; // what stands in the line of a here-document so far
    size_t line_len;
};

static void push(struct scan *s, enum where where, char closes) {
    if (s->depth + 1 >= NESTING_MAX)
        return; // deeper ones are taken for the same
    s->depth++;
    s->stack[s->depth] = where;
    s->closes[s->depth] = closes;
}

static void pop(struct scan *s) {
    s->depth -= s->depth > 0;
}

// The word after << or <<-: where the document ends, and whether it is taken as it is.
static size_t take_delimiter(struct scan *s, const char *p, size_t left) {
    size_t i = 0, n = 0;
    s->tabs = i < left && p[i] == '-';
    i += s->tabs;
    while (i < left && (p[i] == ' ' || p[i] == '\t'))
        i++;
    s->quoted = false;
    for (; i < left && !strchr(" \t\n;&|<>()", p[i]); i++) {
        if (strchr("'\"\\", p[i]))
            s->quoted = true;
        else if (n + 1 < DELIMITER_MAX)
            s->delimiter[n++] = p[i];
    }
    s->delimiter[n] = '\0';
    s->pending = n > 0 || s->quoted;
    return i;
}

static void here_char(struct scan *s, char c) {
    if (c != '\n') {
        if (s->line_len + 1 < DELIMITER_MAX && !(s->tabs && s->line_len == 0 && c == '\t'))
            s->line[s->line_len++] = c;
        else if (s->line_len + 1 >= DELIMITER_MAX)
            s->line[0] = '\n'; // too long to be the end
        return;
    }
    s->line[s->line_len] = '\0';
    if (strcmp(s->line, s->delimiter) == 0)
        pop(s);
    s->line_len = 0;
}

static void new_line(struct scan *s) {
    if (!s->pending)
        return;
    s->pending = false;
    s->line_len = 0;
    push(s, s->quoted ? HERE_QUOTED : HERE, '\0');
}

// One step through plain text in an unquoted place; returns how many bytes it took.
static size_t unquoted(struct scan *s, const char *p, size_t left) {
    char c = *p, next = left > 1 ? p[1] : '\0';
    bool word_start = s->word_start;
    s->word_start = strchr(" \t\n;&|(", c) != NULL;
    if (c == '\\')
        return left > 1 ? 2 : 1;
    if (c == '\'' || c == '"') {
        push(s, c == '"' ? DOUBLE : SINGLE, c);
    } else if (c == '#' && word_start) {
        push(s, COMMENT, '\n');
    } else if (c == '$' && next == '(') {
        bool arithmetic = left > 2 && p[2] == '(';
        push(s, arithmetic ? ARITHMETIC : UNQUOTED, ')');
        return arithmetic ? 3 : 2;
    } else if (c == '(') {
        push(s, UNQUOTED, ')');
    } else if (c == '`' && s->closes[s->depth] != '`') {
        push(s, UNQUOTED, '`');
    } else if (c == s->closes[s->depth] && s->depth) {
        pop(s);
    } else if (c == '<' && next == '<' && (left < 3 || p[2] != '<')) {
        return 2 + take_delimiter(s, p + 2, left - 2);
    } else if (c == '<' && next == '<') {
        return 3;
    } else if (c == '\n') {
        new_line(s);
    }
    return 1;
}

static size_t quoted(struct scan *s, const char *p, size_t left) {
    if (*p == '\\')
        return left > 1 ? 2 : 1;
    if (*p == '"') {
        pop(s);
    } else if (*p == '$' && left > 1 && p[1] == '(') {
        bool arithmetic = left > 2 && p[2] == '(';
        push(s, arithmetic ? ARITHMETIC : UNQUOTED, ')');
        s->word_start = true;
        return arithmetic ? 3 : 2;
    } else if (*p == '`') {
        push(s, UNQUOTED, '`');
    }
    return 1;
}

static size_t step(struct scan *s, const char *p, size_t left) {
    switch (s->stack[s->depth]) {
    case UNQUOTED:
        return unquoted(s, p, left);
    case DOUBLE:
        return quoted(s, p, left);
    case SINGLE:
        if (*p == '\'')
            pop(s);
        return 1;
    case COMMENT:
        if (*p != '\n')
            return 1;
        pop(s);
        s->word_start = true;
        new_line(s);
        return 1;
    case ARITHMETIC:
        if (*p == ')' && left > 1 && p[1] == ')') {
            pop(s);
            return 2;
        }
        return 1;
    default:
        here_char(s, *p);
        return 1;
    }
}

static enum hd_status refuse(struct hd_err *err, size_t at, const char *why) {
    hd_err_set(err, HD_INVALID, "an expression cannot stand %s", why);
    hd_err_at(err, 1, (unsigned)at + 1);
    hd_err_hint(err, "put the value into a variable under env and use that");
    return HD_INVALID;
}

static enum hd_status put(struct scan *s, struct hd_buf *out, const char *name, size_t at, struct hd_err *err) {
    switch (s->stack[s->depth]) {
    case ARITHMETIC:
        return refuse(err, at, "within $(( )): the shell would compute with it as text of a program");
    case HERE_QUOTED:
        return refuse(err, at, "in a here-document whose end is quoted: the shell takes that as it is");
    case UNQUOTED:
        hd_buf_addf(out, "\"${%s}\"", name);
        s->word_start = false;
        break;
    case SINGLE:
        hd_buf_addf(out, "'\"${%s}\"'", name);
        break;
    case COMMENT:
        break;
    default:
        hd_buf_addf(out, "${%s}", name);
        here_char(s, '$');
    }
    return HD_OK;
}

static bool is_posix_shell(const char *shell) {
    static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "mksh"};
    const char *slash = strrchr(shell, '/'), *base = slash ? slash + 1 : shell;
    for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++)
        if (strcmp(base, shells[i]) == 0)
            return true;
    return false;
}

enum hd_status pip_splice(struct hd_arena *arena, const struct hd_template *script, const char *shell,
                          struct hd_err *err, struct pip_splice *ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    struct scan s = {.word_start = true};
    struct pip_splice made = {.names = HD_NEW_ARRAY(arena, script->n, const char *),
                              .templates = HD_NEW_ARRAY(arena, script->n, const char *)};
    for (size_t i = 0; i < script->n; i++) {
        const struct hd_template_part *part = &script->parts[i];
        if (!part->text) {
            const char *name = hd_arena_printf(arena, PIP_SPLICE_PREFIX "%zu", made.n + 1);
            if (!is_posix_shell(shell))
                return refuse(err, part->at, "in the run of a shell that is not a POSIX shell");
            HD_TRY(put(&s, &out, name, part->at, err));
            made.names[made.n] = name;
            made.templates[made.n++] = hd_arena_printf(arena, "${{%.*s}}", (int)part->expr.len, part->expr.source);
            continue;
        }
        for (size_t k = 0; k < part->len;)
            k += step(&s, part->text + k, part->len - k);
        hd_buf_add(&out, part->text, part->len);
    }
    made.script = hd_arena_strndup(arena, out.data ? out.data : "", out.len);
    *ret = made;
    return HD_OK;
}
