// What the C runtime's start files would give the extension, for machines whose processor can check where a jump lands or
// a return goes. Debian's start files are not marked for that, and one object without the mark takes it from the library.
#ifdef FACESDK_OWN_START

extern "C" {
void __cxa_finalize(void* handle);
// Names this library to the destructors that are registered for it.
__attribute__((visibility("hidden"))) void* __dso_handle = &__dso_handle;
}

namespace {

// Source: the Itanium C++ ABI, 3.3.5.3: a library that is unloaded runs the destructors of its statics.
__attribute__((destructor)) void run_destructors() { __cxa_finalize(&__dso_handle); }

}  // namespace

#endif
