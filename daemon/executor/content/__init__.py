"""What tensors hold, and the memory that judge and cell share. Trusted side.

inputs, drawing, exports         drawn for every slot, or made by a bundle's get_inputs()
wiring                           which tensor goes where
memory, arena, combs             what judge and cell share; the judge's view of it; its few secret words
"""
