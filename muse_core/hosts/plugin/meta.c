/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading the description file, and the CPL objects made from it.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <cpl.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path is fixed when the library is loaded: hosts change the folder later, and may load by a relative name. */
static char description_path[PATH_MAX];
static pid_t loaded_by;

/* The process that loaded the library: python-cpl and PyCPL fork another one for each run. */
pid_t loader(void)
{
    return loaded_by;
}

__attribute__((constructor)) static void find_description(void)
{
    Dl_info info;
    char here[PATH_MAX];
    size_t length;

    loaded_by = getpid();
    if (!dladdr((const void *)description_path, &info) || info.dli_fname == NULL) {
        return;
    }
    if (info.dli_fname[0] == '/' || getcwd(here, sizeof here) == NULL) {
        here[0] = '\0';
    } else {
        strncat(here, "/", sizeof here - strlen(here) - 1);
    }
    length = strlen(here) + strlen(info.dli_fname);
    if (length + 3 >= sizeof description_path || length < 3) {
        return;
    }
    strcpy(description_path, here);
    strcat(description_path, info.dli_fname);
    strcpy(description_path + length - 3, ".meta");
}

const char *meta_path(void)
{
    return description_path;
}

void *need(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory in a MUSE recipe plugin\n", stderr);
        abort();
    }
    return memory;
}

static char *unescape(const char *source, size_t length)
{
    char *result = need(malloc(length + 1));
    size_t in, out = 0;

    for (in = 0; in < length; in++) {
        if (source[in] == '\\' && in + 1 < length) {
            in++;
            switch (source[in]) {
            case 't':
                result[out++] = '\t';
                break;
            case 'n':
                result[out++] = '\n';
                break;
            case 'r':
                result[out++] = '\r';
                break;
            default:
                result[out++] = source[in];
            }
        } else {
            result[out++] = source[in];
        }
    }
    result[out] = '\0';
    return result;
}

fields *fields_split(const char *line)
{
    fields *self = need(calloc(1, sizeof *self));
    const char *start = line;

    for (;;) {
        size_t length = strcspn(start, "\t");
        self->items = need(realloc(self->items, (self->count + 1) * sizeof *self->items));
        self->items[self->count++] = unescape(start, length);
        if (start[length] == '\0') {
            return self;
        }
        start += length + 1;
    }
}

void fields_free(fields *self)
{
    size_t i;

    if (self == NULL) {
        return;
    }
    for (i = 0; i < self->count; i++) {
        free(self->items[i]);
    }
    free(self->items);
    free(self);
}

const char *field(const fields *self, size_t index)
{
    return index < self->count ? self->items[index] : "";
}

meta *meta_load(void)
{
    FILE *stream = description_path[0] ? fopen(description_path, "re") : NULL;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    meta *self;

    if (stream == NULL) {
        return NULL;
    }
    self = need(calloc(1, sizeof *self));
    while ((length = getline(&line, &size, stream)) > 0) {
        if (line[length - 1] == '\n') {
            line[length - 1] = '\0';
        }
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        self->lines = need(realloc(self->lines, (self->count + 1) * sizeof *self->lines));
        self->lines[self->count++] = fields_split(line);
    }
    free(line);
    fclose(stream);
    return self;
}

void meta_free(meta *self)
{
    size_t i;

    if (self == NULL) {
        return;
    }
    for (i = 0; i < self->count; i++) {
        fields_free(self->lines[i]);
    }
    free(self->lines);
    free(self);
}

const char *meta_text(const meta *self, const char *key)
{
    size_t i;

    for (i = 0; i < self->count; i++) {
        if (!strcmp(field(self->lines[i], 0), key)) {
            return field(self->lines[i], 1);
        }
    }
    return "";
}

/* Numbers are written with a point whatever the user's language says. */
static double number(const char *source)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain != (locale_t)0 ? uselocale(plain) : (locale_t)0;
    double value = strtod(source, NULL);

    if (plain != (locale_t)0) {
        uselocale(before);
        freelocale(plain);
    }
    return value;
}

/* param <full name> <context> <alias> <type> <default> <hidden> <help> [choice ...], or the smallest and largest value of an int */
enum { P_NAME = 1, P_CONTEXT, P_ALIAS, P_TYPE, P_DEFAULT, P_HIDDEN, P_HELP, P_CHOICES };

static cpl_parameter *make_parameter(const fields *line)
{
    const char *name = field(line, P_NAME), *context = field(line, P_CONTEXT), *help = field(line, P_HELP);
    const char *type = field(line, P_TYPE), *preset = field(line, P_DEFAULT);

    if (!strcmp(type, "int") && line->count == P_CHOICES + 2) {
        return cpl_parameter_new_range(name, CPL_TYPE_INT, help, context, (int)strtol(preset, NULL, 10),
                                       (int)strtol(field(line, P_CHOICES), NULL, 10),
                                       (int)strtol(field(line, P_CHOICES + 1), NULL, 10));
    }
    if (line->count > P_CHOICES) {
        int i, chosen = 0, count = (int)(line->count - P_CHOICES);
        for (i = 0; i < count; i++) {
            if (!strcmp(line->items[P_CHOICES + i], preset)) {
                chosen = i;
            }
        }
        return cpl_parameter_new_enum_from_array(name, CPL_TYPE_STRING, help, context, chosen, count,
                                                 line->items + P_CHOICES);
    }
    if (!strcmp(type, "bool")) {
        return cpl_parameter_new_value(name, CPL_TYPE_BOOL, help, context, !strcmp(preset, "true"));
    }
    if (!strcmp(type, "int")) {
        return cpl_parameter_new_value(name, CPL_TYPE_INT, help, context, (int)strtol(preset, NULL, 10));
    }
    if (!strcmp(type, "double")) {
        return cpl_parameter_new_value(name, CPL_TYPE_DOUBLE, help, context, number(preset));
    }
    return cpl_parameter_new_value(name, CPL_TYPE_STRING, help, context, preset);
}

cpl_parameterlist *meta_parameters(const meta *self)
{
    cpl_parameterlist *list = cpl_parameterlist_new();
    size_t i;

    for (i = 0; i < self->count; i++) {
        const fields *line = self->lines[i];
        cpl_parameter *parameter;
        if (strcmp(field(line, 0), "param") != 0) {
            continue;
        }
        parameter = make_parameter(line);
        if (parameter == NULL) {
            continue;
        }
        cpl_parameter_set_alias(parameter, CPL_PARAMETER_MODE_CLI, field(line, P_ALIAS));
        cpl_parameter_set_alias(parameter, CPL_PARAMETER_MODE_CFG, field(line, P_NAME));
        if (!strcmp(field(line, P_HIDDEN), "1")) {
            cpl_parameter_disable(parameter, CPL_PARAMETER_MODE_CLI);
        }
        cpl_parameterlist_append(list, parameter);
    }
    return list;
}

/* tag <raw> <min> <max>;  input <raw> <tag> <min> <max>;  output <raw> <tag> */
cpl_recipeconfig *meta_recipeconfig(const meta *self)
{
    cpl_recipeconfig *config = cpl_recipeconfig_new();
    size_t i;

    for (i = 0; i < self->count; i++) {
        const fields *line = self->lines[i];
        const char *key = field(line, 0), *raw = field(line, 1);
        if (!strcmp(key, "tag")) {
            cpl_recipeconfig_set_tag(config, raw, strtol(field(line, 2), NULL, 10), strtol(field(line, 3), NULL, 10));
        } else if (!strcmp(key, "input")) {
            cpl_recipeconfig_set_input(config, raw, field(line, 2), strtol(field(line, 3), NULL, 10),
                                       strtol(field(line, 4), NULL, 10));
        } else if (!strcmp(key, "output")) {
            cpl_recipeconfig_set_output(config, raw, field(line, 2));
        }
    }
    return config;
}
