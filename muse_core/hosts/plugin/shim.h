/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The CPL plugin of the MUSE recipes in Python: a thin library beside a text file that describes one recipe, and a
 * worker process that runs it. There is no Python inside this library.
 */
#ifndef MUSE_RECIPES_SHIM_H
#define MUSE_RECIPES_SHIM_H

#include <cpl_plugin.h>
#include <cpl_recipe.h>
#include <cpl_recipeconfig.h>
#include <stddef.h>
#include <sys/types.h>

/* One line of text cut at its tabs, with the escapes \t \n \r \\ undone. */
typedef struct {
    char **items;
    size_t count;
} fields;

fields *fields_split(const char *line);
void fields_free(fields *self);
const char *field(const fields *self, size_t index);

/* The lines of a description file (<library>.meta instead of <library>.so). */
typedef struct {
    fields **lines;
    size_t count;
} meta;

meta *meta_load(void);
void meta_free(meta *self);
const char *meta_text(const meta *self, const char *key);
const char *meta_path(void);
pid_t loader(void);

/* Building CPL objects from a description. */
cpl_parameterlist *meta_parameters(const meta *self);
cpl_recipeconfig *meta_recipeconfig(const meta *self);

/* A connected worker process. */
typedef struct {
    pid_t pid;
    pid_t client; /* the process whose forked child runs the recipe, or 0 */
    int fd;
    char *buffer;
    size_t used, size;
} worker;

int worker_start(worker *self, const char *python, const char *script);
int worker_send(const worker *self, const char *text, size_t length);
char *worker_line(worker *self);
int worker_finish(worker *self);

/* Growing text. */
typedef struct {
    char *data;
    size_t used, size;
} text;

void text_add(text *self, const char *value);
void text_field(text *self, const char *value);
void text_end(text *self);

/* Runs the recipe; returns its status. */
int run_recipe(cpl_recipe *recipe, const meta *description);

void *need(void *memory);
void fail(cpl_error_code code, const char *function, const char *file, unsigned line, const char *message);

#endif
