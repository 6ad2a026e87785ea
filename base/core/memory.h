// How the process gets its memory from the kernel.
#pragma once

namespace thinsnap {

// Called early in the main.cc of programs that move volumes: buffers of a megabyte and more go
// straight back to the kernel when they are freed, and threads share two arenas. Without it glibc
// keeps up to three times what an import needs, and spends more time on giving pages back than on
// the import.
void BoundAllocator();

}  // namespace thinsnap
