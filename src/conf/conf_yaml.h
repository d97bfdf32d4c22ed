/*
 * A YAML file as a small tree of nodes with positions. Only what a
 * configuration needs: one document, no anchors, aliases or tags.
 */
#ifndef SHARDGATE_CONF_YAML_H
#define SHARDGATE_CONF_YAML_H

#include "shardgate/base.h"

#define TREE_MAX_BYTES (4u << 20)
#define TREE_MAX_NODES 100000u
#define TREE_MAX_DEPTH 16u
#define TREE_MAX_KEYS 1000u /* of one mapping: the search for duplicates is quadratic */

struct mark {
    unsigned line, column; /* from 1, columns in characters; line 0: nowhere */
};

enum conf_node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct conf_node {
    enum conf_node_kind kind;
    struct mark at;
    struct str text; /* of a scalar; owned by the tree, NUL-terminated, without zero bytes */
    bool quoted;     /* scalar in quotes or a block: never the null of YAML */
    struct str key;  /* of a map's entry; NUL-terminated */
    struct mark key_at;
    struct conf_node *first, *last; /* children in the order of the file */
    struct conf_node *next;
    size_t count; /* children */
};

struct conf_tree;
/* NULL on failure, with `at` and `why` set. */
struct conf_tree *conf_tree_read(struct str text, struct mark *at, char *why, size_t why_size);
void conf_tree_free(struct conf_tree *t);                          /* wipes the texts: some are secrets */
const struct conf_node *conf_tree_root(const struct conf_tree *t); /* NULL: an empty file */
/* `key:` with nothing, `~` or `null`. */
bool conf_node_is_null(const struct conf_node *n);

#endif
