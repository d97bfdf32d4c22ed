/* PostgreSQL's lexical rules, as a table; then every prefix of every text of it. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "shardgate/sql.h"

/* One letter a kind: Word, Quoted, String, Number, $ parameter, Operator, punct (,),
 * Comment, line comment (L), Bad. */
static const char kind_letter[] = {
    [SQL_TOKEN_WORD] = 'W',         [SQL_TOKEN_QUOTED] = 'Q',   [SQL_TOKEN_STRING] = 'S', [SQL_TOKEN_NUMBER] = 'N',
    [SQL_TOKEN_PARAM] = '$',        [SQL_TOKEN_OPERATOR] = 'O', [SQL_TOKEN_PUNCT] = ',',  [SQL_TOKEN_COMMENT] = 'C',
    [SQL_TOKEN_LINE_COMMENT] = 'L', [SQL_TOKEN_BAD] = 'B'};

/* Token texts behind their letters, each in brackets. */
struct row {
    const char *text, *want;
};

static const struct row standard[] = {
    {"", ""},
    {" \t\n\r\f\v ", ""},
    {"SELECT 1", "W[SELECT]N[1]"},
    {"select a,b from t;", "W[select]W[a],[,]W[b]W[from]W[t],[;]"},
    {"a.b . c", "W[a],[.]W[b],[.]W[c]"},
    {"f(x[1])", "W[f],[(]W[x],[[]N[1],[]],[)]"},
    {"a1_$2 _x $y", "W[a1_$2]W[_x],[$]W[y]"},
    {"\xc3\xa9t\xc3\xa9 x\xff", "W[\xc3\xa9t\xc3\xa9]W[x\xff]"},
    {"\xff\xfe\x80", "W[\xff\xfe\x80]"},
    /* Strings. */
    {"'a'", "S['a']"},
    {"''", "S['']"},
    {"'it''s'", "S['it''s']"},
    {"''''", "S['''']"},
    {"'a' 'b'", "S['a']S['b']"},
    {"'a'\n'b'", "S['a'\n'b']"},
    {"'a' \t\r 'b'", "S['a' \t\r 'b']"},
    {"'a'\n\n 'b'\n'c'", "S['a'\n\n 'b'\n'c']"},
    {"'a' -- x\n 'b'", "S['a' -- x\n 'b']"},
    {"'a' -- x\n -- ' y\n 'b'", "S['a' -- x\n -- ' y\n 'b']"},
    {"'a'\n-- x\n'b'", "S['a'\n-- x\n'b']"},
    {"'a'\n-- x", "S['a']L[-- x]"},
    {"'a'\n/* x */'b'", "S['a']C[/* x */]S['b']"},
    {"'a' /* x */\n'b'", "S['a']C[/* x */]S['b']"},
    {"'a' - \n'b'", "S['a']O[-]S['b']"},
    {"'a' --", "S['a']L[--]"},
    {"'a'\nx", "S['a']W[x]"},
    {"'a\\'", "S['a\\']"},
    {"'a\\' c'", "S['a\\']W[c]B[']"},
    {"'open", "B['open]"},
    {"'", "B[']"},
    {"'a'\n'open", "B['a'\n'open]"},
    {"'a;--/*'", "S['a;--/*']"},
    {"E'a\\'b'", "S[E'a\\'b']"},
    {"e'a\\\\'", "S[e'a\\\\']"},
    {"E'a''b'", "S[E'a''b']"},
    {"E'a\\", "B[E'a\\]"},
    {"E'a\\'", "B[E'a\\']"},
    {"E'a'\n'\\''", "S[E'a'\n'\\'']"},
    {"E'a' '\\'", "S[E'a']S['\\']"},
    {"'a'\nE'b'", "S['a']S[E'b']"},
    {"fE'a'", "W[fE]S['a']"},
    {"E 'a'", "W[E]S['a']"},
    {"N'a\\'", "S[N'a\\']"},
    {"n'it''s'", "S[n'it''s']"},
    {"B'101'", "S[B'101']"},
    {"b'1''0'", "S[b'1']S['0']"},
    {"X'1F'\n'2E'", "S[X'1F'\n'2E']"},
    {"x'1F", "B[x'1F]"},
    {"U&'d\\0061t'", "S[U&'d\\0061t']"},
    {"u&'a\\'", "S[u&'a\\']"},
    {"U&'a' UESCAPE '!'", "S[U&'a']W[UESCAPE]S['!']"},
    {"U&\"d\\0061t\"", "Q[U&\"d\\0061t\"]"},
    {"U&\"a\"\"b\"", "Q[U&\"a\"\"b\"]"},
    {"U&x", "W[U]O[&]W[x]"},
    {"U& 'a'", "W[U]O[&]S['a']"},
    {"u&\"open", "B[u&\"open]"},
    {"xu&'a'", "W[xu]O[&]S['a']"},
    /* Quoted identifiers. */
    {"\"a b\"", "Q[\"a b\"]"},
    {"\"a\"\"b\"", "Q[\"a\"\"b\"]"},
    {"\"a\" \"b\"", "Q[\"a\"]Q[\"b\"]"},
    {"\"a\"\n\"b\"", "Q[\"a\"]Q[\"b\"]"},
    {"\"a'b\\\"", "Q[\"a'b\\\"]"},
    {"\"open", "B[\"open]"},
    {"\"\"", "Q[\"\"]"},
    /* Dollar quotes and parameters. */
    {"$$a$$", "S[$$a$$]"},
    {"$$$$", "S[$$$$]"},
    {"$a$x$$y$a$", "S[$a$x$$y$a$]"},
    {"$a$ $b$ $a$", "S[$a$ $b$ $a$]"},
    {"$a$ $b$a$ z", "S[$a$ $b$a$]W[z]"},
    {"$a$ $A$ $a$", "S[$a$ $A$ $a$]"},
    {"$$ $a$$ z", "S[$$ $a$$]W[z]"},
    {"$_1$'--/*$_1$", "S[$_1$'--/*$_1$]"},
    {"$\xc3\xa9$x$\xc3\xa9$", "S[$\xc3\xa9$x$\xc3\xa9$]"},
    {"$a$open$a", "B[$a$open$a]"},
    {"$$", "B[$$]"},
    {"$a b$", ",[$]W[a]W[b$]"},
    {"$", ",[$]"},
    {"$1", "$[$1]"},
    {"$12+$3", "$[$12]O[+]$[$3]"},
    {"$1$a$x$a$", "$[$1]S[$a$x$a$]"},
    {"a$$b$$", "W[a$$b$$]"},
    {"1$$a$$", "N[1]S[$$a$$]"},
    {"$$a$$\n'b'", "S[$$a$$]S['b']"},
    /* Numbers. */
    {"1.5 .5 5. 1e5 1E-5 1.5e+10 .5e1", "N[1.5]N[.5]N[5.]N[1e5]N[1E-5]N[1.5e+10]N[.5e1]"},
    {"1..10", "N[1],[..]N[10]"},
    {"1...5", "N[1],[..]N[.5]"},
    {"1.e5", "N[1.e5]"},
    {"1e", "N[1]W[e]"},
    {"1e+", "N[1]W[e]O[+]"},
    {"1e'\\''", "N[1]S[e'\\'']"},
    {"1a", "N[1]W[a]"},
    {"1.2.3", "N[1.2]N[.3]"},
    {"-1", "O[-]N[1]"},
    {"a.1", "W[a]N[.1]"},
    {"a .. b", "W[a],[..]W[b]"},
    /* Comments. */
    {"-- x", "L[-- x]"},
    {"--", "L[--]"},
    {"-- x\n1", "L[-- x]N[1]"},
    {"-- x\r1", "L[-- x]N[1]"},
    {"--/*\n1--*/", "L[--/*]N[1]L[--*/]"},
    {"/* a */", "C[/* a */]"},
    {"/**/1", "C[/**/]N[1]"},
    {"/*/1*/2", "C[/*/1*/]N[2]"},
    {"/***/1", "C[/***/]N[1]"},
    {"/* /* */ */1", "C[/* /* */ */]N[1]"},
    {"/*/**/*/1", "C[/*/**/*/]N[1]"},
    {"/* /* */", "B[/* /* */]"},
    {"/*//**/*/1", "C[/*//**/*/]N[1]"},
    {"/* '*/1'", "C[/* '*/]N[1]B[']"},
    {"/* -- */1", "C[/* -- */]N[1]"},
    {"/*", "B[/*]"},
    {"/*/", "B[/*/]"},
    {"/* *", "B[/* *]"},
    {"SELECT/*x*/1", "W[SELECT]C[/*x*/]N[1]"},
    /* Operators. */
    {"a+b", "W[a]O[+]W[b]"},
    {"a<>b!=c", "W[a]O[<>]W[b]O[!=]W[c]"},
    {"a=-1", "W[a]O[=]O[-]N[1]"},
    {"a<=-+-1", "W[a]O[<=]O[-]O[+]O[-]N[1]"},
    {"a@-1", "W[a]O[@-]N[1]"},
    {"a=?-1", "W[a]O[=?-]N[1]"},
    {"a+--b", "W[a]O[+]L[--b]"},
    {"a+/*b*/c", "W[a]O[+]C[/*b*/]W[c]"},
    {"a*/*b*/c", "W[a]O[*]C[/*b*/]W[c]"},
    {"a*/c", "W[a]O[*/]W[c]"},
    {"a@--b", "W[a]O[@]L[--b]"},
    {"a->>'b'", "W[a]O[->>]S['b']"},
    {"a::int", "W[a],[::]W[int]"},
    {"a:::b", "W[a],[::],[:]W[b]"},
    {"a:=1", "W[a],[:=]N[1]"},
    {"a::=b", "W[a],[::]O[=]W[b]"},
    {"f(a=>1)", "W[f],[(]W[a],[=>]N[1],[)]"},
    {"a=>=b", "W[a]O[=>=]W[b]"},
    {"a=>-1", "W[a],[=>]O[-]N[1]"},
    {"a#>b|/c", "W[a]O[#>]W[b]O[|/]W[c]"},
    {"[1:2]", ",[[]N[1],[:]N[2],[]]"},
    {"{a}\\d", ",[{]W[a],[}],[\\]W[d]"},
};

static const struct row backslashes[] = {
    {"'a\\'b'", "S['a\\'b']"},   {"'a\\\\'", "S['a\\\\']"},   {"'a\\'", "B['a\\']"},   {"'a'\n'\\''", "S['a'\n'\\'']"},
    {"N'a\\'b'", "S[N'a\\'b']"}, {"E'a\\'b'", "S[E'a\\'b']"}, {"B'1\\'", "S[B'1\\']"}, {"X'1\\'", "S[X'1\\']"},
    {"$$\\$$", "S[$$\\$$]"},     {"\"a\\\"", "Q[\"a\\\"]"},
};

/* Tokens tile the text: between them is white space only. Writes them to out if
 * there is one. */
static void lex(struct str text, bool standard_strings, char *out, size_t size)
{
    struct sql_lexer lx;
    const char *at = text.ptr, *end = text.ptr + text.len;
    size_t n = 0;
    sql_lexer_init(&lx, text, standard_strings);
    for (;;) {
        struct sql_token t = sql_lexer_next(&lx);
        for (; at < end && at < t.text.ptr; at++)
            assert_non_null(memchr(" \t\n\r\f\v", *at, 6));
        if (t.kind == SQL_TOKEN_END)
            break;
        assert_ptr_equal(at, t.text.ptr);
        assert_true(t.text.len > 0 && t.text.len <= (size_t)(end - at));
        at += t.text.len;
        if (out)
            n += (size_t)snprintf(out + n, size - n, "%c[%.*s]", kind_letter[t.kind], (int)t.text.len, t.text.ptr);
        assert_true(n < 1024);
    }
    assert_ptr_equal(at, end);
}

static void expect(const struct row *row, bool standard_strings)
{
    char got[1024] = "";
    struct str text = str_from(row->text);
    lex(text, standard_strings, got, sizeof(got));
    assert_string_equal(got, row->want);
    for (size_t n = 1; n <= text.len; n++) {
        char *p = guard_copy(text.ptr, n);
        lex((struct str){p, n}, true, NULL, 0);
        lex((struct str){p, n}, false, NULL, 0);
        guard_free(p, n);
    }
}

static void test_standard_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(standard); i++)
        expect(&standard[i], true);
}

static void test_backslash_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(backslashes); i++)
        expect(&backslashes[i], false);
}

static void test_empty_slice(void **state)
{
    (void)state;
    struct sql_lexer lx;
    sql_lexer_init(&lx, (struct str){NULL, 0}, true);
    assert_int_equal(sql_lexer_next(&lx).kind, SQL_TOKEN_END);
    assert_int_equal(sql_lexer_next(&lx).kind, SQL_TOKEN_END);
}

/* Each byte alone, doubled and between others: nothing loops or overruns. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char text[4] = {(char)a, (char)b, (char)a, (char)b};
            lex((struct str){text, 4}, true, NULL, 0);
            lex((struct str){text, 4}, false, NULL, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard_strings),
        cmocka_unit_test(test_backslash_strings),
        cmocka_unit_test(test_empty_slice),
        cmocka_unit_test(test_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
