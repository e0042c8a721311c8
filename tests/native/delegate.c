/* A delegate of LiteRT in its smallest form: it looks at a graph, claims no node, and counts.
 *
 * The interface is that of external delegates: two functions by name, and the first fields of
 * TfLiteDelegate (LiteRT, tflite/core/c/common.h). Options: `refuse` = `graph` makes Prepare fail,
 * `refuse` = `device` makes creation fail. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct delegate {
  void *data;
  int (*prepare)(void *context, struct delegate *self); /* 0 is success */
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *builder;
} delegate;

static int created, prepared, destroyed;

int delegates_created(void) {
  return created;
}
int delegates_prepared(void) {
  return prepared;
}
int delegates_destroyed(void) {
  return destroyed;
}

static int look(void *context, delegate *self) {
  (void)context;
  (void)self;
  prepared++;
  return 0;
}

static int refuse(void *context, delegate *self) {
  (void)context;
  (void)self;
  prepared++;
  return 1;
}

delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                        void (*report)(const char *text)) {
  const char *refused = "";
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "refuse") == 0) refused = values[i];
  }
  if (strcmp(refused, "device") == 0) {
    report("no device of that name");
    return NULL;
  }
  delegate *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->prepare = strcmp(refused, "graph") == 0 ? refuse : look;
  created++;
  return made;
}

void tflite_plugin_destroy_delegate(delegate *made) {
  if (made == NULL) return;
  destroyed++;
  free(made);
}
