/* Any bytes as a configuration file: read or refused with a position. */
#include "fuzz.h"

#include "shardgate/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;
    struct conf *c = conf_parse("fuzz", (struct str){(const char *)data, size}, &e);
    must(c || (e.code == ERR_CONFIG && e.cause[0]));
    conf_unref(c);
    return 0;
}
