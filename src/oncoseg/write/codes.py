"""What regions are called in codes: one table from names to SNOMED CT, and its fallback.

A code is (value, scheme, meaning). A region that no row fits is coded as tissue, which is true of
any region, and is told apart by its own name: nothing is called a tumour that need not be one.
"""

from __future__ import annotations

import re

Code = tuple[str, str, str]

ABNORMAL = ("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = ("91723000", "SCT", "Anatomical Structure")
TISSUE = ("85756007", "SCT", "Tissue")
NEOPLASM = ("108369006", "SCT", "Neoplasm")
LESION = ("52988006", "SCT", "Lesion")
ORGANS = {
    "brain": ("12738006", "SCT", "Brain"),
    "hippocampus": ("5366008", "SCT", "Hippocampus"),
    "kidney": ("64033007", "SCT", "Kidney"),
    "liver": ("10200004", "SCT", "Liver"),
    "lung": ("39607008", "SCT", "Lung"),
    "pancreas": ("15776009", "SCT", "Pancreas"),
    "prostate": ("41216001", "SCT", "Prostate"),
    "spleen": ("78961009", "SCT", "Spleen"),
}
# The first row whose pattern is found in a region's name gives its type.
TYPES: tuple[tuple[str, Code], ...] = (
    (r"peritumou?ral|o?edema|\bsnfh\b|\bed\b", ("79654002", "SCT", "Edema")),
    (r"non.?enhancing", NEOPLASM),
    (r"necro\w*|\bncr\b", ("6574001", "SCT", "Necrosis")),
    (r"metasta\w*|\bmets?\b", ("14799000", "SCT", "Neoplasm, Secondary")),
    (r"tumou?rs?\b|neoplasm|glioma|cancer|carcinoma|sarcoma|\bgtv\w*|\b(wt|tc|et)\b", NEOPLASM),
    (r"\bcysts?\b", ("367643001", "SCT", "Cyst")),
    (r"nodules?\b", ("27925004", "SCT", "Nodule")),
    (r"lymph ?nodes?\b", ("59441001", "SCT", "Lymph Node")),
    (r"\bmass(es)?\b", ("4147007", "SCT", "Mass")),
    (r"lesions?\b", LESION),
)
# Defined terms of BodyPartExamined (PS3.16, table L-1).
SITES = {
    "ABDOMEN": ("818981001", "SCT", "Abdomen"),
    "BRAIN": ("12738006", "SCT", "Brain"),
    "BREAST": ("76752008", "SCT", "Breast"),
    "CHEST": ("816094009", "SCT", "Chest"),
    "EXTREMITY": ("66019005", "SCT", "Extremity"),
    "HEAD": ("69536005", "SCT", "Head"),
    "HEADNECK": ("774007", "SCT", "Head and Neck"),
    "KIDNEY": ORGANS["kidney"],
    "LEG": ("61685007", "SCT", "Lower limb"),
    "LIVER": ORGANS["liver"],
    "LUNG": ORGANS["lung"],
    "NECK": ("45048000", "SCT", "Neck"),
    "PANCREAS": ORGANS["pancreas"],
    "PELVIS": ("816092008", "SCT", "Pelvis"),
    "PROSTATE": ORGANS["prostate"],
}
PROCEDURES = {
    "CT": ("25045-6", "LN", "CT unspecified body region"),
    "MR": ("25056-3", "LN", "MRI unspecified body region"),
    "NM": ("49118-3", "LN", "NM unspecified body region"),
    "PT": ("44136-0", "LN", "PET unspecified body region"),
}


def coded(region: str) -> tuple[Code, Code]:
    """Region name -> (category, type): what sort of thing it is, and what it is."""
    words = re.sub(r"[\W_]+", " ", region).strip().lower()
    for pattern, code in TYPES:
        if re.search(pattern, words):
            return (ANATOMY if code[2] == "Lymph Node" else ABNORMAL), code
    for organ, code in ORGANS.items():
        if organ in words:
            return ANATOMY, code
    return TISSUE, TISSUE
