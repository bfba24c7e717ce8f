"""How the networks run: in onnxruntime, OpenVINO or torch, all from the same torch modules.

torch is slow to import. Whoever runs a network in another runtime never does so, but for the first
time, when the network is exported.
"""
