// How the process gets its memory from the kernel. Both are called early in main.cc, before there
// is a second thread.
#pragma once

namespace thinsnap {

// For every program: threads that mostly wait share two heaps. One for each would cost more than
// they hold.
void ShareHeaps();

// For programs that move volumes: buffers of a megabyte and more go straight back to the kernel
// when they are freed. With glibc's moving threshold an import keeps up to three times what it
// needs, and spends more time on giving pages back than on the import.
void ReturnLargeBuffers();

}  // namespace thinsnap
