/*
 * The only file that knows libyaml. Events are turned into nodes with a stack
 * of the open lists and maps; what a configuration has no use for (aliases
 * make trees of exponential size, tags make types) is refused with its place.
 */
#include "conf_yaml.h"

#include <stdio.h>
#include <string.h>

#include <yaml.h>

#define NODES_A_CHUNK 128u

struct chunk {
    struct chunk *next;
    size_t used;
    struct conf_node nodes[NODES_A_CHUNK];
};

struct conf_tree {
    struct chunk *chunks;
    struct conf_node *root;
    size_t nodes;
};

struct builder {
    struct conf_tree *tree;
    struct conf_node *open[TREE_MAX_DEPTH];
    unsigned depth;
    bool have_key; /* of the innermost map; its value comes next */
    struct str key;
    struct mark key_at;
    unsigned documents;
    struct mark *at;
    char *why;
    size_t why_size;
};

static void free_text(struct str s)
{
    if (s.ptr)
        mem_free_secret((void *)(uintptr_t)s.ptr, s.len + 1);
}

static struct mark mark_of(yaml_mark_t m) { return (struct mark){(unsigned)m.line + 1, (unsigned)m.column + 1}; }

static bool refuse(struct builder *b, struct mark at, const char *why)
{
    *b->at = at;
    snprintf(b->why, b->why_size, "%s", why);
    return false;
}

static struct conf_node *new_node(struct builder *b, struct mark at)
{
    struct conf_tree *t = b->tree;
    if (t->nodes >= TREE_MAX_NODES) {
        refuse(b, at, "the file has more than 100000 values");
        return NULL;
    }
    if (!t->chunks || t->chunks->used == NODES_A_CHUNK) {
        struct chunk *c = mem_zalloc(sizeof(*c));
        c->next = t->chunks;
        t->chunks = c;
    }
    struct conf_node *n = &t->chunks->nodes[t->chunks->used++];
    t->nodes++;
    n->at = at;
    return n;
}

static bool copy_text(struct builder *b, struct mark at, const yaml_event_t *ev, struct str *out)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    if (memchr(text, 0, len))
        return refuse(b, at, "a zero byte is not allowed");
    char *copy = mem_try_alloc(len + 1);
    if (!copy)
        return refuse(b, at, "out of memory");
    memcpy(copy, text, len);
    copy[len] = 0;
    *out = (struct str){copy, len};
    return true;
}

/* The open list or map that takes the next value; NULL at the top. */
static struct conf_node *innermost(const struct builder *b) { return b->depth > 0 ? b->open[b->depth - 1] : NULL; }

/* Hangs a value into the innermost open list or map. */
static bool attach(struct builder *b, struct conf_node *n)
{
    struct conf_node *parent = innermost(b);
    if (!parent) {
        b->tree->root = n;
        return true;
    }
    if (parent->kind == NODE_MAP) {
        n->key = b->key;
        n->key_at = b->key_at;
        b->key = (struct str){0};
        b->have_key = false;
    }
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->count++;
    return true;
}

static bool take_key(struct builder *b, const struct conf_node *map, struct mark at, const yaml_event_t *ev)
{
    if (map->count >= TREE_MAX_KEYS)
        return refuse(b, at, "more than 1000 keys in one section");
    struct str key;
    if (!copy_text(b, at, ev, &key))
        return false;
    for (const struct conf_node *n = map->first; n; n = n->next) {
        if (!str_eq(n->key, key))
            continue;
        snprintf(b->why, b->why_size, "the key \"%.60s\" is given twice, first in line %u", key.ptr, n->key_at.line);
        *b->at = at;
        free_text(key);
        return false;
    }
    b->key = key;
    b->key_at = at;
    b->have_key = true;
    return true;
}

static bool wants_key(const struct builder *b)
{
    const struct conf_node *parent = innermost(b);
    return parent && parent->kind == NODE_MAP && !b->have_key;
}

static bool add_scalar(struct builder *b, struct mark at, const yaml_event_t *ev)
{
    if (wants_key(b))
        return take_key(b, innermost(b), at, ev);
    struct conf_node *n = new_node(b, at);
    if (!n || !copy_text(b, at, ev, &n->text))
        return false;
    n->kind = NODE_SCALAR;
    n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return attach(b, n);
}

static bool add_open(struct builder *b, struct mark at, enum conf_node_kind kind)
{
    if (wants_key(b))
        return refuse(b, at, "a key must be a plain text");
    if (b->depth == TREE_MAX_DEPTH)
        return refuse(b, at, "the nesting is deeper than 16");
    struct conf_node *n = new_node(b, at);
    if (!n || !attach(b, n))
        return false;
    n->kind = kind;
    b->open[b->depth++] = n;
    return true;
}

static bool refuse_tag(struct builder *b, struct mark at, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return refuse(b, at, "anchors (&) are not supported");
    if (tag)
        return refuse(b, at, "tags (!) are not supported");
    return true;
}

static bool on_event(struct builder *b, const yaml_event_t *ev)
{
    struct mark at = mark_of(ev->start_mark);
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return refuse(b, at, "aliases (*) are not supported; put a text that begins with * in quotes");
    case YAML_SCALAR_EVENT:
        return refuse_tag(b, at, ev->data.scalar.anchor, ev->data.scalar.tag) && add_scalar(b, at, ev);
    case YAML_SEQUENCE_START_EVENT:
        return refuse_tag(b, at, ev->data.sequence_start.anchor, ev->data.sequence_start.tag) &&
               add_open(b, at, NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return refuse_tag(b, at, ev->data.mapping_start.anchor, ev->data.mapping_start.tag) &&
               add_open(b, at, NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth -= b->depth > 0; /* libyaml pairs them */
        return true;
    case YAML_DOCUMENT_START_EVENT:
        return ++b->documents == 1 || refuse(b, at, "only one document (---) is allowed in the file");
    default:
        return true;
    }
}

/* The reader of libyaml knows bytes only: the place is found by counting. */
static struct mark mark_at_offset(struct str text, size_t offset)
{
    struct mark m = {1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '\n')
            m = (struct mark){m.line + 1, 1};
        else if ((c & 0xC0) != 0x80)
            m.column++;
    }
    return m;
}

static bool refuse_syntax(struct builder *b, const yaml_parser_t *p, struct str text)
{
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR)
        return refuse(b, mark_of(p->mark), "out of memory");
    if (p->error == YAML_READER_ERROR) {
        *b->at = mark_at_offset(text, p->problem_offset);
        snprintf(b->why, b->why_size, "not valid UTF-8 text: %s", problem);
        return false;
    }
    *b->at = mark_of(p->problem_mark);
    if (p->context && p->context_mark.line != p->problem_mark.line)
        snprintf(b->why, b->why_size, "not valid YAML: %s, %s that begins in line %u", problem, p->context,
                 (unsigned)p->context_mark.line + 1);
    else if (p->context)
        snprintf(b->why, b->why_size, "not valid YAML: %s, %s", problem, p->context);
    else
        snprintf(b->why, b->why_size, "not valid YAML: %s", problem);
    return false;
}

static bool read_events(struct builder *b, yaml_parser_t *p, struct str text)
{
    for (;;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(p, &ev))
            return refuse_syntax(b, p, text);
        bool end = ev.type == YAML_STREAM_END_EVENT;
        bool good = on_event(b, &ev);
        if (ev.type == YAML_SCALAR_EVENT)
            explicit_bzero(ev.data.scalar.value, ev.data.scalar.length);
        yaml_event_delete(&ev);
        if (!good || end)
            return good;
    }
}

void conf_tree_free(struct conf_tree *t)
{
    if (!t)
        return;
    for (struct chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        for (size_t i = 0; i < c->used; i++) {
            free_text(c->nodes[i].text);
            free_text(c->nodes[i].key);
        }
        mem_free(c);
    }
    mem_free(t);
}

const struct conf_node *conf_tree_root(const struct conf_tree *t) { return t->root; }

bool conf_node_is_null(const struct conf_node *n)
{
    return n->kind == NODE_SCALAR && !n->quoted &&
           (n->text.len == 0 || str_eq(n->text, STR("~")) || str_eq_nocase(n->text, STR("null")));
}

struct conf_tree *conf_tree_read(struct str text, struct mark *at, char *why, size_t why_size)
{
    struct builder b = {.at = at, .why = why, .why_size = why_size};
    *at = (struct mark){1, 1};
    if (text.len > TREE_MAX_BYTES) {
        refuse(&b, *at, "the file is larger than 4 MiB");
        return NULL;
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        refuse(&b, *at, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
    b.tree = mem_zalloc(sizeof(*b.tree));
    bool good = read_events(&b, &parser, text);
    yaml_parser_delete(&parser);
    free_text(b.key);
    if (!good) {
        conf_tree_free(b.tree);
        return NULL;
    }
    return b.tree;
}
