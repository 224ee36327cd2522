/* The plugin file: registers the functions with VapourSynth and passes each call to Python.
 *
 * It links to libc alone and looks Python up in the running process, so that loading it costs
 * nothing and a host without Python gets a readable error instead of a failed load. VapourSynth
 * unloads it together with the core: nothing outside may keep a pointer into it. */

#define _GNU_SOURCE /* RTLD_DEFAULT, dl_iterate_phdr */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"
#include "portable.h"

#define MESSAGE_SIZE 1024

/* ---- The functions of the plugin ---------------------------------------------------------- */

typedef struct Function {
    const char *name;
    const char *arguments;
    const char *result;
} Function;

static const Function functions[] = {
#include "functions.inc" /* made from vsgshift/parameters.py */
};

/* ---- Python, as far as it is needed to reach the bridge ------------------------------------ */

typedef struct PyObject PyObject;

typedef struct Python {
    int (*IsInitialized)(void);
    int (*IsFinalizing)(void);
    int (*GILEnsure)(void);
    void (*GILRelease)(int);
    PyObject *(*ImportModule)(const char *);
    PyObject *(*GetAttrString)(PyObject *, const char *);
    void *(*CapsuleGetPointer)(PyObject *, const char *);
    PyObject *(*SysGetObject)(const char *);
    void (*ErrFetch)(PyObject **, PyObject **, PyObject **);
    PyObject *(*Str)(PyObject *);
    const char *(*AsUTF8)(PyObject *, intptr_t *);
    void (*ErrClear)(void);
    void (*DecRef)(PyObject *);
} Python;

/* Stores the symbol's address in *target (a function pointer). Returns 0 if there is no such symbol. */
static int find_symbol(const char *symbol, void *target) {
    void *address = gshift_symbol(symbol);
    memcpy(target, &address, sizeof address);
    return address != NULL;
}

static int find_python(Python *py) {
    return find_symbol("Py_IsInitialized", &py->IsInitialized)
        /* Public since 3.13; 3.12 has it under the private name. */
        && (find_symbol("Py_IsFinalizing", &py->IsFinalizing)
            || find_symbol("_Py_IsFinalizing", &py->IsFinalizing))
        && find_symbol("PyGILState_Ensure", &py->GILEnsure)
        && find_symbol("PyGILState_Release", &py->GILRelease)
        && find_symbol("PyImport_ImportModule", &py->ImportModule)
        && find_symbol("PyObject_GetAttrString", &py->GetAttrString)
        && find_symbol("PyCapsule_GetPointer", &py->CapsuleGetPointer)
        && find_symbol("PySys_GetObject", &py->SysGetObject)
        && find_symbol("PyErr_Fetch", &py->ErrFetch)
        && find_symbol("PyObject_Str", &py->Str)
        && find_symbol("PyUnicode_AsUTF8AndSize", &py->AsUTF8)
        && find_symbol("PyErr_Clear", &py->ErrClear)
        && find_symbol("Py_DecRef", &py->DecRef);
}

/* ---- Errors: one line, "Deblur: what is wrong: what to do" --------------------------------- */

#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
static void set_message(char *message, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    for (char *c = message; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
}

/* Copies str(object) to `text`; a question mark if that fails. */
static void copy_str(const Python *py, PyObject *object, char *text, size_t size) {
    PyObject *string = object != NULL ? py->Str(object) : NULL;
    const char *utf8 = string != NULL ? py->AsUTF8(string, NULL) : NULL;
    snprintf(text, size, "%s", utf8 != NULL ? utf8 : "?");
    py->ErrClear();
    py->DecRef(string); /* Py_DecRef takes NULL */
}

static void set_import_error(const Python *py, char *message, const char *function) {
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    char reason[480], prefix[320];
    py->ErrFetch(&type, &value, &traceback);
    copy_str(py, value != NULL ? value : type, reason, sizeof reason);
    copy_str(py, py->SysGetObject("prefix") /* borrowed */, prefix, sizeof prefix);
    set_message(message,
                "%s: the Python at %s cannot import " GSHIFT_MODULE " (%s): install vsgshift into that Python",
                function, prefix, reason);
    py->DecRef(type);
    py->DecRef(value);
    py->DecRef(traceback);
}

/* ---- One call ------------------------------------------------------------------------------ */

/* With the GIL held: the bridge's entry points, or NULL and a message. */
static const GShiftABI *import_bridge(const Python *py, char *message, const char *function) {
    PyObject *module = py->ImportModule(GSHIFT_MODULE);
    PyObject *capsule = module != NULL ? py->GetAttrString(module, GSHIFT_CAPSULE_ATTRIBUTE) : NULL;
    const GShiftABI *abi = capsule != NULL ? py->CapsuleGetPointer(capsule, GSHIFT_CAPSULE) : NULL;
    if (abi == NULL)
        set_import_error(py, message, function);
    py->DecRef(capsule);
    py->DecRef(module); /* sys.modules and the static struct outlive these references */
    if (abi != NULL && abi->version != GSHIFT_ABI_VERSION) {
        set_message(message,
                    "%s: the plugin file speaks version %d to the vsgshift package, which speaks %u: "
                    "reinstall vsgshift",
                    function, GSHIFT_ABI_VERSION, (unsigned)abi->version);
        abi = NULL;
    }
    return abi;
}

static void VS_CC call_function(const VSMap *in, VSMap *out, void *user_data, VSCore *core,
                                const VSAPI *vsapi) {
    const Function *function = user_data;
    char message[MESSAGE_SIZE];
    Python py;

    if (!find_python(&py) || !py.IsInitialized()) {
        set_message(message,
                    "%s: no Python runs in this process: vsgshift needs a host that runs VapourSynth "
                    "through Python, such as vspipe with a .vpy script",
                    function->name);
        vsapi->mapSetError(out, message);
        return;
    }
    if (py.IsFinalizing()) {
        set_message(message, "%s: Python is shutting down: create filters before the script ends",
                    function->name);
        vsapi->mapSetError(out, message);
        return;
    }

    const int gil = py.GILEnsure();
    const GShiftABI *abi = import_bridge(&py, message, function->name);
    py.GILRelease(gil);

    if (abi == NULL)
        vsapi->mapSetError(out, message);
    else
        abi->call(function->name, in, out, core, vsapi);
}

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    vspapi->configPlugin("org.vsgshift.gshift", "gshift",
                         "Deblurring and denoising with grouped spatial-temporal shift",
                         VS_MAKE_VERSION(GSHIFT_VERSION_MAJOR, GSHIFT_VERSION_MINOR),
                         VAPOURSYNTH_API_VERSION, 0, plugin);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        vspapi->registerFunction(functions[i].name, functions[i].arguments, functions[i].result,
                                 call_function, (void *)&functions[i], plugin);
}
