#include "daemon.h"

#ifdef SHARDGATE_SYSTEMD
#include <systemd/sd-daemon.h>

void notify_state(const char *state) { sd_notify(0, state); }
#else
void notify_state(const char *state) { (void)state; }
#endif
