"""What a kernel type gets and gives, whoever wrote it. Untrusted side. A backend file, one outside of evald as well,
imports its names from here and none of the modules.

kernel                           one kernel as it lies in the cell; something that can be called
importing                        importing the code of a bundle
faults, advice                   what it did wrong, in its own lines; what errors of libraries mean here
"""

from daemon.executor.source.faults import KernelFault, fault_from
from daemon.executor.source.importing import import_source, named
from daemon.executor.source.kernel import Kernel, Source

__all__ = ["Kernel", "KernelFault", "Source", "fault_from", "import_source", "named"]
